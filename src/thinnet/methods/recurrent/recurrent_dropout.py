"""Recurrent dropout without memory loss: drops updates of the memory."""

from typing import TYPE_CHECKING

from thinnet.methods.facts import Facts, Method
from thinnet.methods.recurrent.layers import GRULayers, Layers, LSTMLayers, Options
from thinnet.methods.recurrent.sites import Update

if TYPE_CHECKING:
    from typing_extensions import Unpack

FACTS = Facts()


class _RecurrentDropout(Layers):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        p: float = 0.25,
        per_step: bool = True,
        **options: "Unpack[Options]",
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, **options)
        self.place("update", "p", p, Update, hidden_size, per_step)


class RecurrentDropoutLSTM(_RecurrentDropout, LSTMLayers):
    """An LSTM that drops what a time step would write into a unit's memory; the unit keeps what it stores.

        c_t = f c_{t-1} + i m g / (1 - p),  m ~ Bernoulli(1 - p);  h_t = o tanh c_t

    Weights and results are those of `torch.nn.LSTM`, which runs in eval and at rate 0. The sites are `update0`, `update1`, ...

    Noise shape: one decision per unit of a time step, or per unit of a sequence with `per_step=False`.
    Use when: in place of an LSTM or a GRU that must remember over many steps, with dropout between the layers.
    Avoid when: the input overfits: it has no mask here.
    Start with: p from 0.25 to 0.5, with new masks at each step.
    Cost: thinnet's own loop over the steps: benchmarks/results/recurrent.json.
    Other implementations: not in PyTorch; recurrent_dropout of Keras is the method of Gal and Ghahramani.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: number of stacked layers.
        p: probability that an update is dropped, rounded to 1/65536.
        per_step: whether masks are new at each step. If False, a sequence has one mask.
        **options: bias, batch_first, bidirectional, proj_size, device and dtype, as in `torch.nn.LSTM`.

    Shapes: as in `torch.nn.LSTM`.

    Raises: ValueError if `p` is not in [0, 1]; RuntimeError for shapes that `torch.nn.LSTM` refuses, and for second
        derivatives.

    Source: Semeniuta, Severyn, Barth 2016, arXiv:1603.05118.

    >>> import torch
    >>> y, (h, c) = RecurrentDropoutLSTM(8, 16, p=0.5)(torch.randn(5, 3, 8))
    >>> y.shape
    torch.Size([5, 3, 16])
    """


class RecurrentDropoutGRU(_RecurrentDropout, GRULayers):
    """`RecurrentDropoutLSTM` as a GRU, which drops its candidate.

        h_t = z h_{t-1} + (1 - z) m n / (1 - p),  m ~ Bernoulli(1 - p)

    Shapes: as in `torch.nn.GRU`.

    >>> import torch
    >>> y, h = RecurrentDropoutGRU(8, 16, p=0.5)(torch.randn(5, 3, 8))
    >>> y.shape
    torch.Size([5, 3, 16])
    """


METHODS = (
    Method(FACTS, RecurrentDropoutLSTM, title="Recurrent dropout without memory loss"),
    Method(FACTS, RecurrentDropoutGRU),
)
