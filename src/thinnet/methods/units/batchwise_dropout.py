"""Batchwise dropout: the samples of a group share their coins, so that a dropped unit is dropped for all of them.

    y[n, i] = x[n, i] m[g(n), i] / (1 - p),  of the coins m[g] of a group exactly K are kept, E[K] = (1 - p) n

What a whole group drops need not be computed: `thinnet.thin` runs the layers around on the kept units alone.
Graham, Reizenstein, Robinson 2015, "Efficient batchwise dropout training using submatrices", arXiv:1502.02478.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from thinnet import ops, rates
from thinnet.coins import Draw, Site
from thinnet.facts import Facts
from thinnet.methods.call import draw
from thinnet.methods.units import dropout

Count = Literal["fixed", "bernoulli"]
MULTIPLES = (16, 8, 4, 2, 1)  # of kept units: what matrix products and vector registers like


class Kept(NamedTuple):
    """The units that each group of a batch keeps.

    Args:
        units: `(groups, width)`, int64, ascending; the units to compute.
        live: `(groups, width)`, whether such a unit is kept, or only fills the width up; None where all are kept.
        scale: what kept units are multiplied by, 1 / (1 - p): a 0-d float32 tensor.
        starts: where in the batch each group starts, and where the last one ends.
    """

    units: Tensor
    live: Tensor | None
    scale: Tensor
    starts: tuple[int, ...]

    @property
    def width(self) -> int:
        """How many units are computed."""
        return self.units.shape[1]


def definition(x: Tensor, u: Tensor, p: float, axis: int = -1, count: Count = "fixed", groups: int = 1) -> Tensor:
    """Returns x / (1 - p) at the units whose numbers are among the K smallest, or, of independent coins, at least p."""
    units = x.shape[axis]
    shape = [1] * x.ndim
    shape[axis] = units
    if count == "bernoulli":
        kept = u.flatten()[:units] >= p
    else:
        wanted = (1 - p) * units
        number = int(wanted) + bool(float(u.flatten()[-1]) < wanted - int(wanted))
        kept = torch.zeros(units, dtype=torch.bool)
        kept[sorted(range(units), key=lambda unit: float(u.flatten()[unit]))[:number]] = True
    return torch.where(kept.reshape(shape), x / (1 - p) if p < 1 else x, 0)


def covariance(p: float, units: int, count: Count = "fixed") -> float:
    """Returns the covariance of two units of a sample as a multiple of x_i x_j.

    E[K (K - 1)] / (n (n - 1) (1 - p)^2) - 1, which is -p / ((1 - p) (n - 1)) where (1 - p) n is whole; 0 for independent coins.

    >>> round(covariance(0.5, 12), 6), round(-1 / 11, 6)
    (-0.090909, -0.090909)
    """
    if count == "bernoulli" or p in (0, 1) or units < 2:
        return 0.0
    wanted = (1 - p) * units
    low, more = int(wanted), wanted - int(wanted)
    pairs = (1 - more) * low * (low - 1) + more * (low + 1) * low
    return pairs / (units * (units - 1) * (1 - p) ** 2) - 1


FACTS = Facts(
    name="Batchwise dropout",
    summary="Drops units for a whole group of samples, exactly a share p of them, and scales the kept ones by 1 / (1 - p).",
    equation="y[n, i] = x[n, i] m[g(n), i] / (1 - p),  K of n coins are kept, E[K] = (1 - p) n",
    paper="Graham, Reizenstein, Robinson 2015, arXiv:1502.02478",
    grain="unit of a group of samples, exactly K of n",
    place="where Dropout or Dropout2d is, between two wide layers, when steps have to be cheaper: thinnet.thin(model) puts it there",
    avoid="narrow layers, small gains; a batch that is one sample, or few steps: there are as many thinned networks as groups",
    default="the rate of the dropout that it replaces, one group",
    cost="a sort of n numbers a group; with thinnet.thin less than no dropout: dropped units are not computed",
    elsewhere="the authors' CUDA code; keep counts of MXNet and Caffe forks; SparseDrop (arXiv:2411.01238) for blocks, CUDA only",
    expected_drop=lambda p, **_: p,
    mean=lambda x, p, **_: x * (p < 1),
    variance=lambda x, p, **_: x * x * (p / (1 - p) if p < 1 else 0),
    covariance=covariance,
    definition=definition,
    noise="uniform",
    coins=lambda shape, axis=-1, **_: (1, shape[axis] + 1),
    independent=False,
    per_batch=True,
    after_first=True,
)


def width_of(units: int, p: float) -> int:
    """Returns how many units are computed at the delivered rate: the kept ones, filled up to a multiple of 16.

    Where that would be more than a sixteenth of all units, they are filled up to a smaller power of two.

    >>> width_of(1024, 0.5), width_of(1000, 0.5), width_of(100, 0.5), width_of(10, 0.5), width_of(64, 1.0)
    (512, 512, 56, 5, 0)
    """
    kept = -(-units * (rates.RESOLUTION - rates.count(p)) // rates.RESOLUTION)
    return next(width for m in MULTIPLES if (width := -(-kept // m) * m) <= min(units, kept + units // 16))


def keep(coins: Draw, batch: int, units: int, p: float, groups: int, count: Count) -> Kept:
    """Returns what each group of a batch keeps of its units."""
    grouped, starts = _grouped(coins, batch, groups)
    if count == "bernoulli":
        return Kept(*_filled_up(_independent(grouped, len(starts) - 1, units)), coins.scale, starts)
    width = width_of(units, p)
    numbers = grouped.uniform((len(starts) - 1, units + 1))
    chosen = numbers[:, :units].argsort(dim=1, stable=True)[:, :width]
    whole, more = divmod(units * (rates.RESOLUTION - rates.count(p)), rates.RESOLUTION)
    if whole == width:
        return Kept(chosen.sort(dim=1).values, None, coins.scale, starts)
    live = torch.arange(width, device=chosen.device) < whole + (numbers[:, units:] < more / rates.RESOLUTION)
    chosen, order = chosen.sort(dim=1)
    return Kept(chosen, live.gather(1, order), coins.scale, starts)


def _grouped(coins: Draw, batch: int, groups: int) -> tuple[Draw, tuple[int, ...]]:
    """Returns the coins of groups, each named after its first sample, and where they start; without names they are rows."""
    groups = max(1, min(groups, batch))
    starts = tuple(batch * group // groups for group in range(groups + 1))
    *name, samples = coins.name
    if samples is not None:
        first = torch.tensor(starts[:-1], device=samples.device)
        samples = samples + first if samples.shape[0] == 1 else samples[first]
    return Draw(coins.function, coins.rate, (*name, samples)), starts  # type: ignore[arg-type]


def _independent(coins: Draw, groups: int, units: int) -> Tensor:
    """Returns `(groups, units)` coins, each by itself; of the numbers that a fixed count sorts."""
    return coins.uniform((groups, units + 1))[:, :units] >= coins.p


def _filled_up(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the units to compute of coins whose number differs: as many for each group as the one that keeps most."""
    most = max(1, int(mask.sum(1).max()))  # no layer runs on nothing
    width = min(mask.shape[1], -(-most // MULTIPLES[0]) * MULTIPLES[0])
    units = (~mask).to(torch.uint8).argsort(dim=1, stable=True)[:, :width].sort(dim=1).values
    return units, mask.gather(1, units)


def _mask(coins: Draw, batch: int, units: int, p: float, groups: int, count: Count) -> Tensor:
    """Returns the mask of each sample, `(batch, units)`, or the one of all, `(1, units)`."""
    if count == "bernoulli":
        grouped, starts = _grouped(coins, batch, groups)
        mask = _independent(grouped, len(starts) - 1, units)
    else:
        kept = keep(coins, batch, units, p, groups, count)
        live = torch.ones_like(kept.units, dtype=torch.bool) if kept.live is None else kept.live
        starts = kept.starts
        mask = torch.zeros(len(starts) - 1, units, dtype=torch.bool, device=live.device).scatter(1, kept.units, live)
    sizes = [end - start for start, end in zip(starts, starts[1:], strict=False)]
    return mask if len(mask) == 1 else torch.cat([row.expand(size, -1) for row, size in zip(mask, sizes, strict=True)])


def _drop(coins: Draw, x: Tensor, p: float, axis: int, groups: int, count: Count) -> Tensor:
    ops.check_input(x, coins.function)
    axis = checked_axis(coins.function, x, axis)
    mask = _mask(coins, x.shape[0], x.shape[axis], p, groups, count)
    mask = mask.reshape(-1, *[size if other == axis else 1 for other, size in enumerate(x.shape)][1:])
    scale = coins.scale.to(torch.promote_types(x.dtype, torch.float32))
    return torch.where(mask, x * scale, 0).to(x.dtype)


def checked_axis(function: str, x: Tensor, axis: int) -> int:
    """Returns the axis of the units from the front, or says what is wrong with it."""
    if x.ndim < 2 or not 1 <= axis % x.ndim or not -x.ndim <= axis < x.ndim:
        raise ValueError(
            f"{function}: axis must be one of x behind the first, which counts samples; got {axis} for x of shape"
            f" {tuple(x.shape)}. Bring x to (N, ..., D)."
        )
    return axis % x.ndim


def check_settings(function: str, groups: object, count: object) -> None:
    """Says what is wrong with the settings."""
    if type(groups) is not int or groups < 1:
        raise ValueError(f"{function}: groups must be a positive integer; got {groups!r}. 1 is one mask for the batch.")
    if count not in ("fixed", "bernoulli"):
        raise ValueError(f'{function}: count must be "fixed" or "bernoulli"; got {count!r}. "fixed" keeps K of n units.')


def batchwise_dropout(
    x: Tensor,
    p: float = 0.5,
    *,
    axis: int = -1,
    groups: int = 1,
    count: Count = "fixed",
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Drops units of `x` for whole groups of samples and scales the kept ones by 1 / (1 - p).

    y[n, i] = x[n, i] m[g(n), i] / (1 - p), with K of n coins kept in each group and E[K] = (1 - p) n.

    Args:
        x: `(N, ..., D)`, or with the units in another axis.
        p: fraction of units set to zero; honoured to 1/65536: where (1 - p) n is no whole number, K is one of its neighbours.
        axis: of the units: -1 for features, 1 for channels.
        groups: how many contiguous groups the batch is cut into; each has coins of its own.
        count: "fixed" for exactly K of n; "bernoulli" for independent coins, whose number differs from step to step.
        training: whether coins are tossed. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`. Two units of a sample have the covariance -p / ((1 - p) (n - 1)) x_i x_j with a fixed count.

    Raises: ValueError where `p` is not in [0, 1], `groups` or `count` is none, or `axis` is not behind the first.

    Source: Graham, Reizenstein, Robinson 2015, arXiv:1502.02478.

    >>> kept = batchwise_dropout(torch.ones(4, 64), 0.25, groups=2, training=True) != 0
    >>> kept.sum(1).tolist(), torch.equal(kept[0], kept[1])
    ([48, 48, 48, 48], True)
    """
    check_settings("batchwise_dropout", groups, count)
    coins, p = draw("batchwise_dropout", x, p, training, generator), rates.check("batchwise_dropout", p)
    return x if coins is None else _drop(coins, x, p, axis, groups, count)


class BatchwiseDropout(Site):
    """Drops units for whole groups of samples in training; does nothing in eval.

    y[n, i] = x[n, i] m[g(n), i] / (1 - p), with K of n coins kept in each group and E[K] = (1 - p) n.

    With named coins a group has the name of its first sample. So ranks that each hold a part of a batch toss what one process
    with as many groups would. A rate decides how many units are computed: under `torch.compile` another rate is other code.

    Args:
        p: fraction of units set to zero; honoured to 1/65536.
        axis: of the units: -1 for features, 1 for channels.
        groups: how many contiguous groups the batch is cut into; each has coins of its own.
        count: "fixed" for exactly K of n; "bernoulli" for independent coins.

    Shapes: `(N, ..., D)`, or with the units in another axis; the same out as in.

    Raises: ValueError where `p` is not in [0, 1], `groups` or `count` is none, or `axis` is not behind the first.

    Source: Graham, Reizenstein, Robinson 2015, arXiv:1502.02478.

    >>> BatchwiseDropout(0.5)(torch.ones(3, 64)).count_nonzero(dim=1)
    tensor([32, 32, 32])
    """

    def __init__(self, p: float = 0.5, axis: int = -1, groups: int = 1, count: Count = "fixed") -> None:
        check_settings("BatchwiseDropout", groups, count)
        super().__init__(p)
        self.axis, self.groups, self.count = axis, groups, count

    def keep(self, x: Tensor, units: int) -> Kept | None:
        """Returns what each group of the batch `x` keeps of a number of units in this use; None in eval."""
        coins = self.draw(x)
        return None if coins is None else keep(coins, x.shape[0], units, self.p or 0.0, self.groups, self.count)

    def drop(self, x: Tensor) -> Tensor:
        """Drops units for whole groups."""
        coins = self.draw(x)
        p = 0.0 if self.count == "bernoulli" else self.p or 0.0  # independent coins read the rate as a tensor: one code for all
        return x if coins is None else _drop(coins, x, p, self.axis, self.groups, self.count)

    def extra_repr(self) -> str:
        """Returns rate and settings."""
        return f"p={self.p}, axis={self.axis}, groups={self.groups}, count={self.count!r}"
