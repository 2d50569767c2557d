"""Zoneout: a coin makes a unit keep the value that it had one time step before.

    y = d old + (1 - d) new,  d ~ Bernoulli(p);  in eval  y = p old + (1 - p) new

In an LSTM it is done to the cell and to the state, with a rate and fresh coins for each:

    c_t = d_c c_{t-1} + (1 - d_c)(f c_{t-1} + i g),  h_t = d_h h_{t-1} + (1 - d_h) o tanh(f c_{t-1} + i g)

Krueger et al. 2017, ICLR, arXiv:1606.01305.
"""

from typing import Any

import torch
from torch import Tensor

from thinnet.methods.call import draw_key as key_of
from thinnet.methods.facts import Facts, Method
from thinnet.methods.recurrent.layers import GRULayers, LSTMLayers
from thinnet.methods.recurrent.sites import Zone
from thinnet.rng import NoiseKey, Site, rates


def definition(new: Tensor, u: Tensor, p: float, old: Tensor) -> Tensor:
    """Returns the new values where u >= p, and the old ones elsewhere."""
    return torch.where(u >= p, new, old.to(new.dtype))


def expectation(new: Tensor, p: float | Tensor, old: Tensor) -> Tensor:
    """Returns p old + (1 - p) new."""
    return (p * old + (1 - p) * new).to(new.dtype)


FACTS = Facts(
    name="Zoneout",
    summary="Copies the value of the last time step, unit by unit, where a coin says so; in eval the expected share of it.",
    equation="y = d old + (1 - d) new,  d ~ Bernoulli(p);  in eval  y = p old + (1 - p) new",
    paper="Krueger et al. 2017, arXiv:1606.01305",
    grain="element of a time step",
    place="in the loop of a recurrent cell, on what it has just made of its state and cell",
    avoid="where the two have not the same meaning; where eval must cost what the plain layer costs",
    default="cell 0.5 and state 0.05 on characters; 0.15 for both on long sequences of pixels",
    cost="one coin an element, and a byte an element for backward",
    elsewhere="not in PyTorch; many cells of the web, some of which take the probability of the update for the rate",
    expected_drop=lambda p, **_: p,
    mean=expectation,
    variance=lambda x, p, old: p * (1 - p) * (x - old) ** 2,
    definition=lambda x, u, p, old: definition(x, u, p, old),
    in_eval=expectation,
)

LAYER_FACTS = Facts(
    name="Zoneout of a recurrent network",
    summary="Copies cells and states of the last time step, unit by unit, where coins say so; in eval their expected share.",
    equation="c_t = d_c c_{t-1} + (1 - d_c)(f c_{t-1} + i g),  h_t = d_h h_{t-1} + (1 - d_h) o tanh(f c_{t-1} + i g)",
    paper="Krueger et al. 2017, arXiv:1606.01305",
    grain="unit of a time step",
    place="in place of an LSTM or a GRU that has to remember over many steps",
    avoid="where eval must cost what the plain layer costs: the expectation needs the loop as well",
    default="cell 0.5 and state 0.05 on characters; 0.15 for both on long sequences of pixels",
    cost="one coin a unit and step, in eval none, and a loop of ours over the steps: benchmarks/results/recurrent.json",
    elsewhere="not in PyTorch; many cells of the web, some of which take the probability of the update for the rate",
)


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
    """Returns the old value of an element where a coin says so and the new one elsewhere; in eval their expectation.

    y = d old + (1 - d) new, with d ~ Bernoulli(p); in eval y = p old + (1 - p) new.

    Args:
        new: what a cell has made of its state, `(B, D)` or any other shape.
        p: fraction of the elements that stay what they were, on average; honoured to 1/65536.
        old: the state before; it broadcasts to `new`.
        training: whether coins are tossed. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `new`.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Krueger et al. 2017, arXiv:1606.01305.

    >>> zoneout(torch.ones(3), 0.25, old=torch.zeros(3), training=False)
    tensor([0.7500, 0.7500, 0.7500])
    """
    key = key_of("zoneout", new, p, training, generator)
    if key is not None:
        return _zone(key, new, old)
    return new if training else expectation(new, p, old)


class Zoneout(Site):
    """Copies elements of the last time step in training; in eval gives the expectation. For the loop of a cell of one's own.

    y = d old + (1 - d) new, with d ~ Bernoulli(p); in eval y = p old + (1 - p) new. Each call in a forward pass is a use of the
    site with coins of its own. `ZoneoutLSTM` and `ZoneoutGRU` are whole layers.

    Args:
        p: fraction of the elements that stay what they were, on average; honoured to 1/65536.

    Shapes: `new`, with the batch in axis 0, and `old`, which broadcasts to it. The output is like `new`.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Krueger et al. 2017, arXiv:1606.01305.

    >>> zone, h = Zoneout(0.15), torch.zeros(4, 16)
    >>> for x in torch.randn(5, 4, 16):
    ...     h = zone(torch.tanh(x + h), h)
    >>> h.shape
    torch.Size([4, 16])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, new: Tensor, old: Tensor) -> Tensor:  # type: ignore[override]
        """Returns the old value of an element where a coin says so and the new one elsewhere; in eval their expectation."""
        key = self.key(new)
        return expectation(new, self._rate(new.device) / rates.RESOLUTION, old) if key is None else _zone(key, new, old)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class ZoneoutLSTM(LSTMLayers):
    """An LSTM whose cells and states stay, unit by unit, what they were one step before; in eval by the expected share.

    c_t = d_c c_{t-1} + (1 - d_c)(f c_{t-1} + i g), h_t = d_h h_{t-1} + (1 - d_h) o tanh(f c_{t-1} + i g), d ~ Bernoulli(p)

    Its weights and its results at rates 0 are those of `torch.nn.LSTM`. The sites are `cell0`, `hidden0`, `cell1`, ...

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: how many layers follow each other.
        p_cell: fraction of the cells that stay what they were, on average; honoured to 1/65536.
        p_hidden: the same of the states.
        bias, batch_first, bidirectional, proj_size, device, dtype: as of `torch.nn.LSTM`.

    Shapes: as of `torch.nn.LSTM`.

    Raises: ValueError where a rate is not in [0, 1]; RuntimeError at shapes that `torch.nn.LSTM` refuses, and where a gradient
        is differentiated again.

    Source: Krueger et al. 2017, arXiv:1606.01305.

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
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        sizes = (input_size, hidden_size, num_layers)
        super().__init__("LSTM", sizes, bias, batch_first, bidirectional, proj_size, device, dtype)
        self.place("cell", "p_cell", p_cell, Zone, hidden_size, "zone_c")
        self.place("hidden", "p_hidden", p_hidden, Zone, self.state_size, "zone_h")


class ZoneoutGRU(GRULayers):
    """A GRU whose states stay, unit by unit, what they were one step before; in eval by the expected share.

    h_t = d h_{t-1} + (1 - d)((1 - z) n + z h_{t-1}), with d ~ Bernoulli(p)

    Its weights and its results at rate 0 are those of `torch.nn.GRU`. The sites are `hidden0`, `hidden1`, ...

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: how many layers follow each other.
        p: fraction of the states that stay what they were, on average; honoured to 1/65536.
        bias, batch_first, bidirectional, device, dtype: as of `torch.nn.GRU`.

    Shapes: as of `torch.nn.GRU`.

    Raises: ValueError where `p` is not in [0, 1]; RuntimeError at shapes that `torch.nn.GRU` refuses, and where a gradient is
        differentiated again.

    Source: Krueger et al. 2017, arXiv:1606.01305.

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
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("GRU", (input_size, hidden_size, num_layers), bias, batch_first, bidirectional, 0, device, dtype)
        self.place("hidden", "p", p, Zone, hidden_size, "zone_h")


METHODS = (
    Method(
        FACTS,
        Zoneout,
        zoneout,
        lambda x: zoneout(x, 0.3, old=x.roll(8, 1), training=True),
    ),
    Method(LAYER_FACTS, ZoneoutLSTM),
    Method(LAYER_FACTS, ZoneoutGRU),
)
