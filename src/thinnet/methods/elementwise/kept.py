"""Which units each group of a batch keeps, and how many are computed."""

from dataclasses import replace
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from thinnet.ops.kept import is_plain, smallest
from thinnet.rng import NoiseKey, rates

Count = Literal["fixed", "bernoulli"]
MULTIPLES = (16, 8, 4, 2, 1)  # of kept units: what matrix products and vector registers like


class Kept(NamedTuple):
    """The units that each group of a batch keeps.

    Args:
        units: `(groups, width)`, int64, ascending: the units to compute.
        live: `(groups, width)`: whether such a unit is kept, or only fills the width; None where all are kept.
        scale: the factor of kept units, 1 / (1 - p): a 0-d float32 tensor on the CPU, which works with any device.
        starts: the first sample of each group, and the end of the last group.
    """

    units: Tensor
    live: Tensor | None
    scale: Tensor
    starts: tuple[int, ...]

    @property
    def width(self) -> int:
        """The number of units to compute."""
        return self.units.shape[1]

    @property
    def sizes(self) -> list[int]:
        """The number of samples of each group."""
        return [end - start for start, end in pairwise(self.starts)]


def width_of(units: int, p: float) -> int:
    """Returns how many units are computed at the delivered rate: the kept ones, rounded up to a multiple of 16.

    Where that adds more than a sixteenth of all units, they are rounded up to a smaller power of two.

    >>> width_of(1024, 0.5), width_of(1000, 0.5), width_of(100, 0.5), width_of(10, 0.5), width_of(64, 1.0)
    (512, 512, 56, 5, 0)
    """
    kept = -(-units * (rates.RESOLUTION - rates.count(p)) // rates.RESOLUTION)
    return next(width for m in MULTIPLES if (width := -(-kept // m) * m) <= min(units, kept + units // 16))


def keep(key: NoiseKey, batch: int, units: int, p: float, groups: int, count: Count) -> Kept:
    """Returns the units that each group of a batch keeps."""
    scale = torch.tensor(rates.RESOLUTION / max(1, rates.RESOLUTION - rates.count(p)))  # at p = 1 nothing is scaled
    grouped, starts = grouped_key(key, batch, groups)
    if count == "bernoulli":
        return Kept(*_filled_up(independent(grouped, len(starts) - 1, units)), scale, starts)
    width = width_of(units, p)
    numbers = grouped.uniform((len(starts) - 1, units + 1))
    expected = units * (rates.RESOLUTION - rates.count(p))
    whole, more = expected // rates.RESOLUTION, expected % rates.RESOLUTION  # the compiler knows no divmod of symbols
    if whole and len(starts) == 2 and numbers.is_cpu and is_plain():  # shapes may vary, so no unit has to fill the width
        width = whole = whole + int(numbers[0, units] < more / rates.RESOLUTION)
    chosen, live = smallest(numbers, width, whole, more / rates.RESOLUTION)
    return Kept(chosen, None if whole == width else live, scale, starts)


def grouped_key(key: NoiseKey, batch: int, groups: int) -> tuple[NoiseKey, tuple[int, ...]]:
    """Returns a key with the address of each group's first sample (unaddressed: its number), and the starts of the groups."""
    groups = max(1, min(groups, batch))
    starts = tuple(batch * group // groups for group in range(groups + 1))
    samples = key.samples
    if samples is not None:
        first = torch.tensor(starts[:-1], device=samples.device)
        samples = samples + first if samples.shape[0] == 1 else samples[first]
    return replace(key, samples=samples), starts


def independent(key: NoiseKey, groups: int, units: int) -> Tensor:
    """Returns an independent mask, `(groups, units)`, from the numbers that a fixed count sorts."""
    return key.uniform((groups, units + 1))[:, :units] >= key.p


def _filled_up(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the units to compute for masks that keep different numbers of units: as many as the largest group keeps."""
    most = max(1, int(mask.sum(1).max()))  # no layer runs on nothing
    width = min(mask.shape[1], -(-most // MULTIPLES[0]) * MULTIPLES[0])
    units = (~mask).to(torch.uint8).argsort(dim=1, stable=True)[:, :width].sort(dim=1).values
    return units, mask.gather(1, units)
