"""RNNDrop: one coin takes a unit's memory away for a whole sequence.

    c_t = m (f c_{t-1} + i g),  h_t = o tanh(c_t) / (1 - p),  m ~ Bernoulli(1 - p), one a sequence

A unit keeps its place in the loop or loses it, so the scale must not be in the loop: 1 / (1 - p) at every step would make
(1 - p)^-t of it. It is where the memory is read. Moon, Choi, Lee, Song 2015, "RNNDROP: a novel dropout for RNNs in ASR" (ASRU).
"""

from typing import Any

from thinnet.methods.facts import Facts, Method
from thinnet.methods.recurrent.layers import LSTMLayers
from thinnet.methods.recurrent.sites import Memory

FACTS = Facts(
    name="RNNDrop",
    summary="Drops units of an LSTM, memory and all, for a whole sequence by one coin each.",
    equation="c_t = m (f c_{t-1} + i g),  h_t = o tanh(c_t) / (1 - p),  m ~ Bernoulli(1 - p), one a sequence",
    paper="Moon, Choi, Lee, Song 2015, ASRU",
    grain="unit of a sequence",
    place="in place of an LSTM on short sequences, such as those of speech",
    avoid="in stateful training over pieces of a sequence: a unit that is dropped forgets what it was given",
    default="0.2 to 0.5",
    cost="one coin a unit of a sequence, and a loop of ours over the steps: benchmarks/results/recurrent.json",
    elsewhere="lstms.pth, whose mask is drawn once in the life of a layer and lets no gradient through; not in PyTorch",
)


class RNNDropLSTM(LSTMLayers):
    """An LSTM that drops units, memory and all, for a whole sequence.

    c_t = m (f c_{t-1} + i g), h_t = o tanh(c_t) / (1 - p), with m ~ Bernoulli(1 - p), one a sequence

    Memory and output of a dropped unit are 0 at every step. The memory itself is never scaled, as the scale would grow with
    each step; what is read of it is. Its weights and results are those of `torch.nn.LSTM`; in eval, and at rate 0, that is
    what runs. The sites are `memory0`, `memory1`, ...

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: how many layers follow each other.
        p: fraction of the units that are dropped, on average; honoured to 1/65536.
        bias, batch_first, bidirectional, proj_size, device, dtype: as of `torch.nn.LSTM`.

    Shapes: as of `torch.nn.LSTM`.

    Raises: ValueError where `p` is not in [0, 1]; RuntimeError at shapes that `torch.nn.LSTM` refuses, and where a gradient is
        differentiated again.

    Source: Moon, Choi, Lee, Song 2015, "RNNDROP: a novel dropout for RNNs in ASR" (ASRU).

    >>> import torch
    >>> y, (h, c) = RNNDropLSTM(8, 16, p=0.5)(torch.randn(5, 3, 8))
    >>> bool(((y == 0).all(0) == (c[0] == 0)).all())
    True
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        p: float = 0.25,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        sizes = (input_size, hidden_size, num_layers)
        super().__init__("LSTM", sizes, bias, batch_first, bidirectional, proj_size, device, dtype)
        self.place("memory", "p", p, Memory, hidden_size)


METHODS = (Method(FACTS, RNNDropLSTM),)
