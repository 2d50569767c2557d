"""Zoneout: units keep their value of the previous time step."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from thinnet.methods.call import draw_key as key_of
from thinnet.methods.call import no_tensor, rate_on_device
from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import weighted
from thinnet.methods.recurrent.layers import GRULayers, LSTMLayers, Options
from thinnet.methods.recurrent.sites import Zone
from thinnet.rng import NoiseKey, Site, rates
from thinnet.rng.context import capturing
from thinnet.rng.site import recorded

if TYPE_CHECKING:
    from typing_extensions import Unpack


def definition(new: Tensor, u: Tensor, p: float, old: Tensor) -> Tensor:
    """Returns the new values where u >= p, and the old ones elsewhere."""
    return torch.where(u >= p, new, old.to(new.dtype))


def expectation(new: Tensor, p: float | Tensor, old: Tensor) -> Tensor:
    """Returns p old + (1 - p) new."""
    if isinstance(p, Tensor):
        return (weighted(p, old) + weighted(1 - p, new)).to(new.dtype)
    if p in (0, 1):  # no share of 0 meets an infinite value
        return new if p == 0 else old.to(new.dtype).expand(new.shape).clone()
    dtype = torch.promote_types(new.dtype, torch.float32)
    return (p * old.to(dtype) + (1 - p) * new.to(dtype)).to(new.dtype)


FACTS = Facts(
    expected_drop=lambda p, **_: p,
    mean=expectation,
    variance=lambda x, p, old: p * (1 - p) * (x - old) ** 2,
    definition=lambda x, u, p, old: definition(x, u, p, old),
    in_eval=expectation,
)

LAYER_FACTS = Facts()


def _zone(key: NoiseKey, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(key.mask(new.shape), new, old.to(new.dtype))


def zoneout(
    new: Tensor,
    p: float | Tensor = 0.5,
    *,
    old: Tensor,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `Zoneout`.

    Args:
        new: the new state of a cell, `(B, D)` or any other shape.
        old: the previous state; it broadcasts to `new`.
        training: whether to draw a mask; the expectation is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> zoneout(torch.ones(3), 0.25, old=torch.zeros(3), training=False)
    tensor([0.7500, 0.7500, 0.7500])
    """
    if not isinstance(new, Tensor):
        return no_tensor(zoneout, locals())
    key = key_of("zoneout", new, p, training, generator)
    if key is not None:
        return _zone(key, new, old)
    return new if training else expectation(new, rate_on_device("zoneout", p, new.device).double() / rates.RESOLUTION, old)


class Zoneout(Site):
    """Keeps elements of a state at their value of the previous time step with probability p; in eval returns the expectation.

        training:  y = d old + (1 - d) new,  d ~ Bernoulli(p)
        eval:      y = p old + (1 - p) new

    For the loop of a cell of your own; `ZoneoutLSTM` and `ZoneoutGRU` are whole layers. Each call in a forward pass has its own
    masks.

    Noise shape: one decision per element of a time step.
    Use when: in the loop of a recurrent cell, on its new state and cell.
    Avoid when: old and new value differ in meaning, or eval must cost as little as the plain layer.
    Start with: cell 0.5 and state 0.05 on characters; 0.15 for both on long sequences of pixels.
    Cost: one random decision per element, and a byte per element for backward.
    Other implementations: not in PyTorch. Some public cells take the probability of the update as the rate.

    Args:
        p: probability that an element keeps its old value, rounded to 1/65536.

    Shapes: `new`, with the batch in axis 0, and `old`, which broadcasts to it. The output has the shape of `new`.

    Raises: ValueError if `p` is not in [0, 1].

    Source: Krueger et al. 2017, ICLR, arXiv:1606.01305.

    >>> zone, h = Zoneout(0.15), torch.zeros(4, 16)
    >>> for x in torch.randn(5, 4, 16):
    ...     h = zone(torch.tanh(x + h), h)
    >>> h.shape
    torch.Size([4, 16])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, new: Tensor, old: Tensor) -> Tensor:  # type: ignore[override]
        if not isinstance(new, Tensor):
            return recorded(self, new, old)
        key = self.key(new)
        if key is not None:
            return _zone(key, new, old)
        known = not torch.compiler.is_compiling() and not capturing(new.device)
        rate = rates.count(self.p or 0.0) if known else self._rate(new.device)
        return expectation(new, rate / rates.RESOLUTION, old)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class ZoneoutLSTM(LSTMLayers):
    """An LSTM whose cells and states keep, unit by unit, their value of the previous step; in eval its expected share.

        c_t = d_c c_{t-1} + (1 - d_c)(f c_{t-1} + i g)
        h_t = d_h h_{t-1} + (1 - d_h) o tanh(f c_{t-1} + i g),  d_c, d_h ~ Bernoulli(p)

    Weights, and results at rates 0, are those of `torch.nn.LSTM`. The sites are `cell0`, `hidden0`, `cell1`, ...

    Noise shape: one decision per unit of a time step, for cell and state separately.
    Use when: in place of an LSTM or a GRU that must remember over many steps.
    Avoid when: eval must cost as little as the plain layer: the expectation needs the loop too.
    Start with: cell 0.5 and state 0.05 on characters; 0.15 for both on long sequences of pixels.
    Cost: one random decision per unit and step, none in eval, and thinnet's own loop over the steps:
        benchmarks/results/recurrent.json.
    Other implementations: not in PyTorch. Some public cells take the probability of the update as the rate.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: number of stacked layers.
        p_cell: probability that a cell keeps its old value, rounded to 1/65536.
        p_hidden: the same for a state.
        **options: bias, batch_first, bidirectional, proj_size, device and dtype, as in `torch.nn.LSTM`.

    Shapes: as in `torch.nn.LSTM`.

    Raises: ValueError if a rate is not in [0, 1]; RuntimeError for shapes that `torch.nn.LSTM` refuses, and for second
        derivatives.

    Source: Krueger et al. 2017, ICLR, arXiv:1606.01305.

    >>> y, (h, c) = ZoneoutLSTM(8, 16, p_cell=0.5, p_hidden=0.05)(torch.randn(5, 3, 8))
    >>> y.shape
    torch.Size([5, 3, 16])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        p_cell: float = 0.5,
        p_hidden: float = 0.05,
        **options: "Unpack[Options]",
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, **options)
        self.place("cell", "p_cell", p_cell, Zone, hidden_size, "zone_c")
        self.place("hidden", "p_hidden", p_hidden, Zone, self.state_size, "zone_h")


class ZoneoutGRU(GRULayers):
    """`ZoneoutLSTM` as a GRU, with a single rate `p` for its states.

        h_t = d h_{t-1} + (1 - d)((1 - z) n + z h_{t-1}),  d ~ Bernoulli(p)

    The sites are `hidden0`, `hidden1`, ...

    Shapes: as in `torch.nn.GRU`.

    >>> y, h = ZoneoutGRU(8, 16, p=0.1)(torch.randn(5, 3, 8))
    >>> y.shape
    torch.Size([5, 3, 16])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        p: float = 0.1,
        **options: "Unpack[Options]",
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, **options)
        self.place("hidden", "p", p, Zone, hidden_size, "zone_h")


METHODS = (
    Method(FACTS, Zoneout, zoneout, lambda x: zoneout(x, 0.3, old=x.roll(8, 1), training=True)),
    Method(LAYER_FACTS, ZoneoutLSTM, title="Zoneout of a recurrent network"),
    Method(LAYER_FACTS, ZoneoutGRU),
)
