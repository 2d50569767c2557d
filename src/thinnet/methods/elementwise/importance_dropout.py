"""Importance dropout: each unit has its own rate, which falls with its importance."""

import torch
from torch import Tensor

from thinnet import ops
from thinnet.methods.call import draw_key as key_for
from thinnet.methods.call import no_tensor
from thinnet.methods.elementwise.selection import selected
from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import real, wide
from thinnet.ops import units
from thinnet.rng import NoiseKey, Site, rates

NEVER = -1  # no pass yet: a step is never negative, and a drawn seed is this one once in 2^64


def unit_rates(p: float | Tensor, importance: Tensor, floor: float = 0.1) -> Tensor:
    """Returns the rate of each unit: 1 - min(1, c s) with mean p, for s = importance + floor * its mean.

    The function sum_i min(1, c s_i) is the least of the lines k + c (the sum of s without its k largest). So the c for which it
    is units (1 - p) is the largest of those that the lines give: exact, and without a search. If all importances are 0, all
    units have the same rate. Rates are rounded to 1/65536.

    >>> unit_rates(0.5, torch.tensor([4.0, 2.0, 1.0, 1.0]), floor=0.0).tolist()
    [0.0, 0.5, 0.75, 0.75]
    """
    p, share = torch.as_tensor(p, dtype=torch.float32), importance.float()
    share = share + floor * share.mean() + torch.finfo(torch.float32).tiny
    ordered = share.sort(descending=True).values
    behind = ordered.flip(0).cumsum(0).flip(0)
    left = len(share) * (1 - p) - torch.arange(len(share), device=share.device)
    kept = (share * (left / behind).max()).clamp(0, 1)
    return ((1 - kept) * rates.RESOLUTION).round() / rates.RESOLUTION


def _along(values: Tensor, x: Tensor, dim: int) -> Tensor:
    """Returns one number per unit, shaped to broadcast over `x`."""
    shape = [1] * x.ndim
    shape[dim] = -1
    return values.reshape(shape)


def definition(x: Tensor, u: Tensor, p: float, *, importance: Tensor, dim: int = -1, floor: float = 0.1) -> Tensor:
    """Returns the kept elements (u >= rate of the unit) scaled by 1 / (1 - rate), the others as zeros."""
    rate = _along(unit_rates(p, importance, floor).to(x.dtype), x, dim)
    return torch.where(u >= rate, x / (1 - rate), 0)


def variance(x: Tensor, p: float, *, importance: Tensor, dim: int = -1, floor: float = 0.1) -> Tensor:
    """Returns x^2 r / (1 - r) at the unit's rate r."""
    rate = _along(unit_rates(p, importance, floor).to(x.dtype), x, dim)
    return x * x * torch.where(rate < 1, rate / (1 - rate), 0)


FACTS = Facts(
    expected_drop=lambda p, **_: p,
    mean=lambda x, p, **_: x * (p < 1),
    variance=variance,
    definition=definition,
    noise="uniform",
)


def _drop(key: NoiseKey, x: Tensor, importance: Tensor, dim: int, floor: float) -> Tensor:
    rate = _along(unit_rates(key.p, importance, floor), x, dim).to(wide(x))
    scale = torch.where(rate < 1, 1 / (1 - rate), 0)
    return selected(key, x, rate, scale)


def _check(function: str, x: Tensor, importance: Tensor, dim: int) -> None:
    ops.check_input(x, function)
    if not -x.ndim <= dim < x.ndim or x.shape[dim] != len(importance):
        rule = f"{function}: axis dim = {dim} of x must count {len(importance)} units"
        raise ValueError(f"{rule}; got shape {tuple(x.shape)}. Features are last, dim=-1; channels are dim=1.")


def _check_floor(function: str, floor: float) -> None:
    if not 0 < real(floor) < float("inf"):
        step = "A unit whose importance was 0 would never be kept without it; try 0.1."
        raise ValueError(f"{function}: floor must be a positive number; got {floor!r}. {step}")


def importance_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    importance: Tensor,
    dim: int = -1,
    floor: float = 0.1,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `ImportanceDropout`.

    Args:
        x: any shape; floating point or complex.
        importance: `(units,)`, not negative; only proportions matter. With reciprocals, strong units are dropped more often, as
            in guided dropout (Keshari et al., arXiv:1812.03965), whose strengths are learned.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> x, importance = torch.ones(10_000, 2), torch.tensor([3.0, 1.0])
    >>> y = importance_dropout(x, 0.5, importance=importance, floor=0.3, training=True)
    >>> [round(rate, 1) for rate in (y == 0).double().mean(0).tolist()]
    [0.3, 0.7]
    """
    if not isinstance(x, Tensor):
        return no_tensor(importance_dropout, locals())
    _check("importance_dropout", x, importance, dim)
    _check_floor("importance_dropout", floor)
    key = key_for("importance_dropout", x, p, training, generator)
    return x if key is None else _drop(key, x, importance, dim, floor)


class ImportanceDropout(Site):
    """Drops each element at the rate of its unit: the more important the unit, the lower its rate. The mean rate is p.

        y_i = x_i m_i / q_i,  m_i ~ Bernoulli(q_i),  q_i = min(1, c s_i),  c such that mean_i(q_i) = 1 - p

    The importance s_i is the root mean square of unit i, as a running average over training steps. Dropout adds the variance
    sum_i E[x_i^2] (1 / q_i - 1). These q_i minimise it among all q with the same mean. The paper derives them from a risk
    bound, and draws the kept units from a multinomial distribution. Here each element has its own decision.

    Each training pass with gradients uses the buffer `importance` first, and then updates it. So no rate depends on its own
    batch. Numbers that are not finite are left out. With addressed masks, all passes of a step use the same rates, and only the
    first one updates the buffer. The buffer is part of the `state_dict`. Under DDP, rank 0 broadcasts its buffer.

    Activation checkpointing recomputes with the rates of the forward pass. It raises an error if another unaddressed pass, or
    another step, ran in between. Compiled code that recomputes raises PyTorch's error in backward. The transforms of
    `torch.func` cannot write to the buffer, so they need `momentum=0`.

    To use another measure, such as |x dL/dx| (Molchanov et al. 2019, arXiv:1906.10771), set `momentum=0` and assign to
    `importance` between two steps.

    Noise shape: one decision per element, at the rate of its unit.
    Use when: units of an input or hidden layer differ much in size, such as word counts.
    Avoid when: a normalisation gives all units the same size, where it equals dropout; or weak units must be kept often.
    Start with: 0.5; floor 0.1, momentum 0.1.
    Cost: twice the random bits of dropout, a pass that measures the input, and a sort of the units; no mask is kept.
    Other implementations: none known. The paper measures on the current batch only, and draws a multinomial count for each
        unit.

    Args:
        units: number of units, the size of axis `dim`.
        p: fraction of elements set to zero, on average over all units; each rate is rounded to 1/65536.
        dim: the axis of the units: -1 for features, 1 for channels.
        momentum: weight of the new batch in the running mean square; 0 if you set the importance yourself.
        floor: this fraction of the mean importance is added to each unit's importance, so that no rate is 1.

    Shapes: any with `units` along `dim`; the output has the shape of the input. Floating point or complex.

    Raises:
        ValueError: `p` or `momentum` is not in [0, 1], `units` or `floor` is not positive, or an input does not fit.
        TypeError: the input is an integer, bool, quantised or sparse tensor.
        RuntimeError: activation checkpointing recomputes a pass whose rates were replaced.

    Source: Li, Gong, Yang 2016, NeurIPS, arXiv:1602.02220 ("evolutional dropout").

    >>> layer = ImportanceDropout(3, 0.5)
    >>> _ = layer(torch.tensor([[3.0, 1.0, 1.0], [-3.0, -1.0, 1.0]]))
    >>> first, *others = layer.unit_rates().tolist()
    >>> first < 0.5 < min(others)
    True
    """

    importance: Tensor
    used: Tensor
    passes: Tensor

    def __init__(self, units: int, p: float = 0.5, *, dim: int = -1, momentum: float = 0.1, floor: float = 0.1) -> None:
        super().__init__(p)
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise ValueError(f"ImportanceDropout: units must be a positive integer; got {units!r}. Give the size of axis dim.")
        if not 0 <= real(momentum) <= 1:
            raise ValueError(f"ImportanceDropout: momentum must be in [0, 1]; got {momentum!r}. Try 0.1.")
        _check_floor("ImportanceDropout", floor)
        self.dim, self.momentum, self.floor = dim, momentum, floor
        self.register_buffer("importance", torch.zeros(units))
        self.register_buffer("used", torch.zeros(units), persistent=False)  # in the last pass
        self.register_buffer("passes", torch.tensor([NEVER, NEVER]), persistent=False)  # the last one, the last measured
        self.register_load_state_dict_post_hook(_forget)

    def unit_rates(self) -> Tensor:
        """Returns the rate of each unit in the next step, `(units,)`."""
        return unit_rates(self.p or 0.0, self.importance, self.floor)

    def drop(self, x: Tensor) -> Tensor:
        _check("ImportanceDropout", x, self.importance, self.dim)
        key = self.key(x)
        if key is None:
            return x
        importance = self._importance(key, x.detach(), self.momentum > 0 and torch.is_grad_enabled())
        return _drop(key, x, importance, self.dim, self.floor)

    @torch.no_grad()
    def _importance(self, key: NoiseKey, x: Tensor, measures: bool) -> Tensor:
        """Returns the importance for this pass, and measures `x` for the next."""
        if torch._C._are_functorch_transforms_active():  # they cannot write to buffers
            if measures:
                rule = "momentum must be 0 inside a transform of torch.func, which cannot update the importance"
                raise RuntimeError(f"ImportanceDropout: {rule}; got {self.momentum}. Set `importance` between steps.")
            return self.importance
        seed, step, *_ = key.address
        now = seed if step is None else step
        if not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1 and int(now) != int(self.passes[0]):
            raise RuntimeError(
                "ImportanceDropout: a recomputation needs the rates of its forward pass; another pass has replaced them."
                " Bind the model to a DropoutRNG, which fixes the rates of a step, and run backward before the next step."
            )
        used = torch.where(now == self.passes[0], self.used, self.importance)
        self.used.copy_(used)
        if measures:
            self.importance.copy_(torch.where(now == self.passes[1], self.importance, self._average(x)))
        self.passes.copy_(torch.stack((now, now if measures else self.passes[1])))
        return used

    def _average(self, x: Tensor) -> Tensor:
        """Returns the running root mean square including this batch, where that is finite."""
        running = torch.lerp(self.importance.float().square(), self._mean_square(x), self.momentum).sqrt()
        return torch.where(running.isfinite(), running, self.importance).to(self.importance.dtype)

    def _mean_square(self, x: Tensor) -> Tensor:
        count = len(self.importance)
        if units.summed(x):
            total = units.sum_units(x, _along(self.importance, x, self.dim).shape, squares=True).flatten()
            return (total * count / x.numel()).float()
        x = (x.abs() if x.is_complex() else x).float()
        return x.movedim(self.dim, -1).square().reshape(-1, count).mean(0)

    def _apply(self, fn, recurse=True):
        """Forgets the last pass after a move: `to_empty` leaves unsaved buffers without values."""
        super()._apply(fn, recurse)
        _forget(self)
        return self

    def extra_repr(self) -> str:
        return f"{len(self.importance)}, p={self.p}, dim={self.dim}, momentum={self.momentum}, floor={self.floor}"


def _forget(layer: ImportanceDropout, *_: object) -> None:
    layer.passes.fill_(NEVER)


METHODS = (
    Method(
        FACTS,
        ImportanceDropout,
        importance_dropout,
        lambda x: importance_dropout(x, 0.3, importance=x.square().mean(0).sqrt(), training=True),
    ),
)
