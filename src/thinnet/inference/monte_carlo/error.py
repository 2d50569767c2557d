"""How far statistics of n draws are from those of infinitely many: Monte-Carlo standard errors, and the n that would do."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Enough:
    """Whether n draws are enough; it is true where they are, and says so in words.

    Args:
        statistic: whose error it is.
        n: how many draws there are.
        needed: how many would be enough: the error falls with the square root of n.
        error: the largest standard error of all samples.
        tolerance: what was asked for.
    """

    statistic: str
    n: int
    needed: int
    error: float
    tolerance: float

    def __bool__(self) -> bool:
        return self.error <= self.tolerance

    def __str__(self) -> str:
        name = self.statistic.replace("_", " ")
        if self:
            return f"n = {self.n} is enough: the standard error of the {name} is at most {self.error:.2g}."
        told = f"the standard error of the {name} is up to {self.error:.2g}, and should be {self.tolerance:.2g}"
        return f"n = {self.n} is not enough: {told}. Use n = {self.needed}."


def enough(n: int, errors: Mapping[str, Tensor], tolerance: float, statistic: str) -> Enough:
    """Returns whether the largest error of a statistic is within a tolerance, and the n at which it would be."""
    if not 0 < tolerance < math.inf:
        raise ValueError(f"Prediction.enough: tolerance must be a positive number; got {tolerance}. Try 0.01.")
    if statistic not in errors:
        raise ValueError(f"Prediction.enough: statistic must be one of {', '.join(errors)}; got {statistic!r}.")
    if n < 2:
        raise ValueError("Prediction.enough: n must be 2 or more, as one draw says nothing of others; got 1. Use n=50.")
    largest = float(errors[statistic].max()) if errors[statistic].numel() else 0.0
    return Enough(statistic, n, math.ceil(n * (largest / tolerance) ** 2), largest, tolerance)


def of_mean(values: Tensor) -> Tensor:
    """Returns the standard error of the mean over axis 0: std / sqrt(n); NaN of one draw."""
    return spread(values) / math.sqrt(len(values))


def spread(values: Tensor) -> Tensor:
    """Returns the standard deviation over axis 0, with n - 1; NaN of one value."""
    return values.std(0) if len(values) > 1 else torch.full_like(values[0], math.nan)


def of_std(values: Tensor) -> Tensor:
    """Returns the standard error of the standard deviation over axis 0: sqrt((m4 - m2^2) / n) / (2 std); 0 where that is 0."""
    centred = values - values.mean(0)
    second, fourth = (centred**2).mean(0), (centred**4).mean(0)
    found = ((fourth - second**2).clamp_min(0) / len(values)).sqrt() / (2 * second.sqrt())
    return torch.where(second > 0, found, 0.0) if len(values) > 1 else torch.full_like(second, math.nan)


def variation_ratio(log_p: Tensor) -> Tensor:
    """Returns the share of draws, along axis 0, whose class is not the most frequent one."""
    classes = log_p.argmax(-1)
    votes = torch.zeros_like(log_p[0])
    for drawn in classes:
        votes.scatter_add_(-1, drawn[..., None], torch.ones_like(votes[..., :1]))
    return 1 - votes.amax(-1) / len(classes)


def shares(q: float | Sequence[float]) -> tuple[list[float], bool]:
    """Returns shares as a list, and whether it was one; refuses what is none."""
    one = isinstance(q, (int, float))
    found = [float(q)] if isinstance(q, (int, float)) else [float(each) for each in q]
    if not found or not all(0 <= each <= 1 for each in found):
        raise ValueError(f"Prediction.quantiles: q must be shares in 0 .. 1; got {q!r}. Try [0.05, 0.5, 0.95].")
    return found, one


def quantiles(values: Tensor, q: float | Sequence[float]) -> Tensor:
    """Returns the quantiles along axis 0, between two values by a straight line."""
    wanted, one = shares(q)
    ordered = values.sort(0).values
    found = torch.stack([_at(ordered, share * (len(values) - 1)) for share in wanted])
    return found[0] if one else found


def of_quantiles(values: Tensor, q: float | Sequence[float]) -> Tensor:
    """Returns the standard error of quantiles: half the distance of the order statistics one binomial deviation apart."""
    wanted, one = shares(q)
    ordered, last = values.sort(0).values, len(values) - 1
    spread = [math.sqrt(share * (1 - share) / len(values)) for share in wanted]
    low = [_at(ordered, max(0.0, share - wide) * last) for share, wide in zip(wanted, spread, strict=True)]
    high = [_at(ordered, min(1.0, share + wide) * last) for share, wide in zip(wanted, spread, strict=True)]
    found = torch.stack([(b - a) / 2 for a, b in zip(low, high, strict=True)])
    return found[0] if one else found


def _at(ordered: Tensor, place: float) -> Tensor:
    low = min(int(place), len(ordered) - 1)
    return torch.lerp(ordered[low], ordered[min(low + 1, len(ordered) - 1)], place - low)
