"""RNNDrop: drops units of an LSTM, with their memory, for a whole sequence."""

from typing import TYPE_CHECKING

from thinnet.methods.facts import Facts, Method
from thinnet.methods.recurrent.layers import LSTMLayers, Options
from thinnet.methods.recurrent.sites import Memory

if TYPE_CHECKING:
    from typing_extensions import Unpack

FACTS = Facts()


class RNNDropLSTM(LSTMLayers):
    """An LSTM that drops units, with their memory, for a whole sequence.

        c_t = m (f c_{t-1} + i g),  h_t = o tanh(c_t) / (1 - p),  m ~ Bernoulli(1 - p)

    Memory and output of a dropped unit are 0 at every step. The scale is outside of the loop, where the memory is read, because
    1 / (1 - p) at every step would become (1 - p)^-t. Weights and results are those of `torch.nn.LSTM`, which runs in eval and
    at rate 0. The sites are `memory0`, `memory1`, ...

    Noise shape: one decision per unit of a sequence.
    Use when: in place of an LSTM on short sequences, such as those of speech.
    Avoid when: training is stateful over pieces of a sequence: a dropped unit forgets its initial state.
    Start with: p from 0.2 to 0.5.
    Cost: thinnet's own loop over the steps: benchmarks/results/recurrent.json.
    Other implementations: lstms.pth, which draws its mask once per layer object and passes no gradient; not in PyTorch.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: number of stacked layers.
        p: probability that a unit is dropped, rounded to 1/65536.
        **options: bias, batch_first, bidirectional, proj_size, device and dtype, as in `torch.nn.LSTM`.

    Shapes: as in `torch.nn.LSTM`.

    Raises: ValueError if `p` is not in [0, 1]; RuntimeError for shapes that `torch.nn.LSTM` refuses, and for second
        derivatives.

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
        **options: "Unpack[Options]",
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, **options)
        self.place("memory", "p", p, Memory, hidden_size)


METHODS = (Method(FACTS, RNNDropLSTM, title="RNNDrop"),)
