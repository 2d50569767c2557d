"""Recurrent dropout without memory loss: coins drop what is written into the memory, never what is in it.

    c_t = f c_{t-1} + i m g / (1 - p),  m ~ Bernoulli(1 - p), fresh at each step or one a sequence

Of a GRU it is the candidate: h_t = z h_{t-1} + (1 - z) m n / (1 - p). Semeniuta, Severyn, Barth 2016, arXiv:1603.05118.
"""

from typing import Any

from thinnet.methods.facts import Facts, Method
from thinnet.methods.recurrent.layers import GRULayers, LSTMLayers
from thinnet.methods.recurrent.sites import Update

FACTS = Facts(
    name="Recurrent dropout without memory loss",
    summary="Drops what a time step would write into a unit's memory; the unit keeps what it remembers.",
    equation="c_t = f c_{t-1} + i m g / (1 - p),  m ~ Bernoulli(1 - p)",
    paper="Semeniuta, Severyn, Barth 2016, arXiv:1603.05118",
    grain="unit of a time step, or of a sequence with per_step=False",
    place="in place of an LSTM or a GRU that has to remember over many steps; dropout between the layers goes with it",
    avoid="where the input is what overfits: it has no mask here",
    default="0.25 to 0.5, fresh at each step",
    cost="one coin a unit and step, and a loop of ours over the steps: benchmarks/results/recurrent.json",
    elsewhere="not in PyTorch; recurrent_dropout of Keras is another method, that of Gal and Ghahramani",
)


class RecurrentDropoutLSTM(LSTMLayers):
    """An LSTM that drops what a step writes into the memory of a unit, and nothing that is in it.

    c_t = f c_{t-1} + i m g / (1 - p), with m ~ Bernoulli(1 - p); h_t = o tanh c_t

    Its weights and results are those of `torch.nn.LSTM`; in eval, and at rate 0, that is what runs. The sites are `update0`,
    `update1`, ...

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: how many layers follow each other.
        p: fraction of the updates that are dropped, on average; honoured to 1/65536.
        per_step: whether coins are fresh at each step. With False a sequence has one mask.
        bias, batch_first, bidirectional, proj_size, device, dtype: as of `torch.nn.LSTM`.

    Shapes: as of `torch.nn.LSTM`.

    Raises: ValueError where `p` is not in [0, 1]; RuntimeError at shapes that `torch.nn.LSTM` refuses, and where a gradient is
        differentiated again.

    Source: Semeniuta, Severyn, Barth 2016, arXiv:1603.05118.

    >>> import torch
    >>> y, (h, c) = RecurrentDropoutLSTM(8, 16, p=0.5)(torch.randn(5, 3, 8))
    >>> y.shape
    torch.Size([5, 3, 16])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        p: float = 0.25,
        per_step: bool = True,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        sizes = (input_size, hidden_size, num_layers)
        super().__init__("LSTM", sizes, bias, batch_first, bidirectional, proj_size, device, dtype)
        self.place("update", "p", p, Update, hidden_size, per_step)


class RecurrentDropoutGRU(GRULayers):
    """A GRU that drops what a step writes into the state of a unit, and nothing that is in it.

    h_t = z h_{t-1} + (1 - z) m n / (1 - p), with m ~ Bernoulli(1 - p)

    Its weights and results are those of `torch.nn.GRU`; in eval, and at rate 0, that is what runs. The sites are `update0`,
    `update1`, ...

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: how many layers follow each other.
        p: fraction of the updates that are dropped, on average; honoured to 1/65536.
        per_step: whether coins are fresh at each step. With False a sequence has one mask.
        bias, batch_first, bidirectional, device, dtype: as of `torch.nn.GRU`.

    Shapes: as of `torch.nn.GRU`.

    Raises: ValueError where `p` is not in [0, 1]; RuntimeError at shapes that `torch.nn.GRU` refuses, and where a gradient is
        differentiated again.

    Source: Semeniuta, Severyn, Barth 2016, arXiv:1603.05118.

    >>> import torch
    >>> y, h = RecurrentDropoutGRU(8, 16, p=0.5)(torch.randn(5, 3, 8))
    >>> y.shape
    torch.Size([5, 3, 16])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        p: float = 0.25,
        per_step: bool = True,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("GRU", (input_size, hidden_size, num_layers), bias, batch_first, bidirectional, 0, device, dtype)
        self.place("update", "p", p, Update, hidden_size, per_step)


METHODS = (
    Method(FACTS, RecurrentDropoutLSTM),
    Method(FACTS, RecurrentDropoutGRU),
)
