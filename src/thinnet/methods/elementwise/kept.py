"""Which units the groups of a batch keep: exactly K of n, or as independent coins have it; and how many are computed."""

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from thinnet.rng import NoiseKey, rates

Count = Literal["fixed", "bernoulli"]
MULTIPLES = (16, 8, 4, 2, 1)  # of kept units: what matrix products and vector registers like


class Kept(NamedTuple):
    """The units that each group of a batch keeps.

    Args:
        units: `(groups, width)`, int64, ascending; the units to compute.
        live: `(groups, width)`, whether such a unit is kept, or only fills the width up; None where all are kept.
        scale: what kept units are multiplied by, 1 / (1 - p): a 0-d float32 tensor of the CPU, which goes with any device.
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

    @property
    def sizes(self) -> list[int]:
        """How many samples each group has."""
        return [end - start for start, end in pairwise(self.starts)]


def width_of(units: int, p: float) -> int:
    """Returns how many units are computed at the delivered rate: the kept ones, filled up to a multiple of 16.

    Where that would be more than a sixteenth of all units, they are filled up to a smaller power of two.

    >>> width_of(1024, 0.5), width_of(1000, 0.5), width_of(100, 0.5), width_of(10, 0.5), width_of(64, 1.0)
    (512, 512, 56, 5, 0)
    """
    kept = -(-units * (rates.RESOLUTION - rates.count(p)) // rates.RESOLUTION)
    return next(width for m in MULTIPLES if (width := -(-kept // m) * m) <= min(units, kept + units // 16))


def keep(key: NoiseKey, batch: int, units: int, p: float, groups: int, count: Count) -> Kept:
    """Returns what each group of a batch keeps of its units."""
    scale = torch.tensor(rates.RESOLUTION / max(1, rates.RESOLUTION - rates.count(p)))  # at p = 1 nothing is scaled
    grouped, starts = grouped_coins(key, batch, groups)
    if count == "bernoulli":
        return Kept(*_filled_up(independent(grouped, len(starts) - 1, units)), scale, starts)
    width = width_of(units, p)
    numbers = grouped.uniform((len(starts) - 1, units + 1))
    chosen = numbers[:, :units].argsort(dim=1, stable=True)[:, :width]
    whole, more = divmod(units * (rates.RESOLUTION - rates.count(p)), rates.RESOLUTION)
    if whole == width:
        return Kept(chosen.sort(dim=1).values, None, scale, starts)
    live = torch.arange(width, device=chosen.device) < whole + (numbers[:, units:] < more / rates.RESOLUTION)
    chosen, order = chosen.sort(dim=1)
    return Kept(chosen, live.gather(1, order), scale, starts)


def grouped_coins(key: NoiseKey, batch: int, groups: int) -> tuple[NoiseKey, tuple[int, ...]]:
    """Returns the coins of groups, each named after its first sample, and where they start; without names they are rows."""
    groups = max(1, min(groups, batch))
    starts = tuple(batch * group // groups for group in range(groups + 1))
    *name, samples = key.name
    if samples is not None:
        first = torch.tensor(starts[:-1], device=samples.device)
        samples = samples + first if samples.shape[0] == 1 else samples[first]
    return NoiseKey(key.function, key.rate, (*name, samples)), starts  # type: ignore[arg-type]


def independent(key: NoiseKey, groups: int, units: int) -> Tensor:
    """Returns `(groups, units)` coins, each by itself; of the numbers that a fixed count sorts."""
    return key.uniform((groups, units + 1))[:, :units] >= key.p


def _filled_up(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the units to compute of coins whose number differs: as many for each group as the one that keeps most."""
    most = max(1, int(mask.sum(1).max()))  # no layer runs on nothing
    width = min(mask.shape[1], -(-most // MULTIPLES[0]) * MULTIPLES[0])
    units = (~mask).to(torch.uint8).argsort(dim=1, stable=True)[:, :width].sort(dim=1).values
    return units, mask.gather(1, units)
