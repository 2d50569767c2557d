"""Batchwise dropout: the samples of a group share one mask."""

from itertools import pairwise

import torch
from torch import Tensor

from thinnet import ops
from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.elementwise.kept import Count, Kept, grouped_key, independent, keep
from thinnet.methods.elementwise.selection import where_kept
from thinnet.methods.facts import Facts, Method
from thinnet.rng import NoiseKey, Site, rates


def definition(x: Tensor, u: Tensor, p: float, axis: int = -1, count: Count = "fixed", groups: int = 1) -> Tensor:
    """Returns x / (1 - p) at the units with the K smallest numbers or, for independent decisions, numbers >= p."""
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

    It is E[K (K - 1)] / (n (n - 1) (1 - p)^2) - 1, which is -p / ((1 - p) (n - 1)) where (1 - p) n is whole.

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
    expected_drop=lambda p, **_: p,
    mean=lambda x, p, **_: x * (p < 1),
    variance=lambda x, p, **_: x * x * (p / (1 - p) if p < 1 else 0),
    covariance=covariance,
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, axis=-1, **_: (1, shape[axis] + 1),
    independent=False,
    per_batch=True,
    after_first=True,
)


def _mask(key: NoiseKey, batch: int, units: int, p: float, groups: int, count: Count) -> Tensor:
    """Returns the mask of each sample, `(batch, units)`, or the one of all, `(1, units)`."""
    if count == "bernoulli":
        grouped, starts = grouped_key(key, batch, groups)
        mask = independent(grouped, len(starts) - 1, units)
    else:
        kept = keep(key, batch, units, p, groups, count)
        live = torch.ones_like(kept.units, dtype=torch.bool) if kept.live is None else kept.live
        starts = kept.starts
        mask = torch.zeros(len(starts) - 1, units, dtype=torch.bool, device=live.device).scatter(1, kept.units, live)
    sizes = [end - start for start, end in pairwise(starts)]
    return mask if len(mask) == 1 else torch.cat([row.expand(size, -1) for row, size in zip(mask, sizes, strict=True)])


def _drop(key: NoiseKey, x: Tensor, p: float, axis: int, groups: int, count: Count) -> Tensor:
    ops.check_input(x, key.function)
    axis = checked_axis(key.function, x, axis)
    mask = _mask(key, x.shape[0], x.shape[axis], p, groups, count)
    mask = mask.reshape(-1, *[size if other == axis else 1 for other, size in enumerate(x.shape)][1:])
    scale = key.scale.to(torch.promote_types(x.dtype, torch.float32))
    return where_kept(x, mask, scale)


def checked_axis(function: str, x: Tensor, axis: int) -> int:
    """Returns the axis of the units counted from the front, or raises ValueError."""
    if x.ndim < 2 or not 1 <= axis % x.ndim or not -x.ndim <= axis < x.ndim:
        raise ValueError(
            f"{function}: axis must be an axis of x after the first, which counts samples; got {axis} for x of shape"
            f" {tuple(x.shape)}. Bring x to (N, ..., D)."
        )
    return axis % x.ndim


def check_settings(function: str, groups: object, count: object) -> None:
    """Raises ValueError for settings that are invalid."""
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
    """Functional form of `BatchwiseDropout`.

    Args:
        x: `(N, ..., D)`, or with the units in another axis.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> kept = batchwise_dropout(torch.ones(4, 64), 0.25, groups=2, training=True) != 0
    >>> kept.sum(1).tolist(), torch.equal(kept[0], kept[1])
    ([48, 48, 48, 48], True)
    """
    if not isinstance(x, Tensor):
        return no_tensor(batchwise_dropout, locals())
    check_settings("batchwise_dropout", groups, count)
    key, p = draw_key("batchwise_dropout", x, p, training, generator), rates.check("batchwise_dropout", p)
    return x if key is None else _drop(key, x, p, axis, groups, count)


class BatchwiseDropout(Site):
    """Drops exactly a fraction p of the units, the same for a group of samples, and scales the kept ones by 1 / (1 - p).

        y[n, i] = x[n, i] m[g(n), i] / (1 - p),  each mask m[g] keeps exactly K units, E[K] = (1 - p) D

    Units that a whole group drops need not be computed: after `thinnet.thin`, the layers before and after compute only the kept
    units. With a fixed count, two units of a sample have the covariance -p / ((1 - p) (D - 1)) x_i x_j.

    With addressed masks, a group has the address of its first sample. So two ranks with one group each draw the masks of one
    process with two groups. Under `torch.compile` a new rate recompiles, because the number of kept units is a shape.

    Noise shape: one decision per unit of a group of samples.
    Use when: between two wide layers, instead of Dropout or Dropout2d; `thinnet.thin(model)` inserts it.
    Avoid when: layers are narrow, which saves little time; or training has few steps, because a step trains one sub-network for
        each group.
    Start with: the rate of the dropout that it replaces, one group.
    Cost: a selection of K out of D numbers per group. With thinnet.thin, a step can take less time than without dropout.
    Other implementations: the authors' CUDA code; SparseDrop (arXiv:2411.01238) drops blocks of rows and features on CUDA.

    Args:
        p: fraction of units set to zero; rounded to 1/65536. If (1 - p) D is not an integer, K is rounded up or down at random.
        axis: the axis of the units: -1 for features, 1 for channels.
        groups: number of groups of consecutive samples in a batch; each has its own mask.
        count: "fixed" keeps exactly K units; "bernoulli" keeps each unit independently.

    Shapes: `(N, ..., D)`, or with the units in another axis; the output has the shape of the input.

    Raises:
        ValueError: `p` is not in [0, 1], `groups` or `count` is invalid, or `axis` is the batch axis or missing.

    Source: Graham, Reizenstein, Robinson 2015, arXiv:1502.02478.

    >>> BatchwiseDropout(0.5)(torch.ones(3, 64)).count_nonzero(dim=1)
    tensor([32, 32, 32])
    """

    def __init__(self, p: float = 0.5, axis: int = -1, groups: int = 1, count: Count = "fixed") -> None:
        check_settings("BatchwiseDropout", groups, count)
        super().__init__(p)
        self.axis, self.groups = axis, groups
        self.count: Count = count

    def keep(self, x: Tensor, units: int) -> Kept | None:
        """Returns the units that each group of the batch `x` keeps, of `units` ones; None in eval."""
        key = self.key(x)
        return None if key is None else keep(key, x.shape[0], units, self.p or 0.0, self.groups, self.count)

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        # independent masks read the rate as a tensor, so that a new rate does not recompile
        p = 0.0 if self.count == "bernoulli" else self.p or 0.0
        return x if key is None else _drop(key, x, p, self.axis, self.groups, self.count)

    def extra_repr(self) -> str:
        return f"p={self.p}, axis={self.axis}, groups={self.groups}, count={self.count!r}"


METHODS = (Method(FACTS, BatchwiseDropout, batchwise_dropout, lambda x: batchwise_dropout(x, 0.3, training=True)),)
