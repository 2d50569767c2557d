"""Monte-Carlo standard errors of statistics of n draws, and the number of draws that a tolerance needs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Enough:
    """Whether n draws are enough: true or false as a `bool`, and a sentence as a `str`.

    Args:
        statistic: the name of the statistic.
        n: the number of draws.
        needed: the number of draws that would be enough: the error falls with the square root of n.
        error: the largest standard error over the samples.
        tolerance: the largest error that is accepted.
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
        error = f"the standard error of the {name} is up to {self.error:.2g}, and should be {self.tolerance:.2g}"
        return f"n = {self.n} is not enough: {error}. Use n = {self.needed}."


def enough(n: int, errors: Mapping[str, Tensor], tolerance: float, statistic: str) -> Enough:
    """Returns whether the largest error of a statistic is within a tolerance, and the n that would be enough."""
    if not 0 < tolerance < math.inf:
        raise ValueError(f"Prediction.enough: tolerance must be a positive number; got {tolerance}. Try 0.01.")
    if statistic not in errors:
        raise ValueError(f"Prediction.enough: statistic must be one of {', '.join(errors)}; got {statistic!r}.")
    if n < 2:
        raise ValueError("Prediction.enough: n must be 2 or more, as a single draw has no error estimate; got 1. Use n=50.")
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
    """Returns the fraction of draws, along axis 0, whose class is not the most frequent one."""
    classes = log_p.argmax(-1)
    votes = torch.zeros_like(log_p[0])
    for drawn in classes:
        votes.scatter_add_(-1, drawn[..., None], torch.ones_like(votes[..., :1]))
    return 1 - votes.amax(-1) / len(classes)


def _levels(q: float | Sequence[float]) -> tuple[list[float], bool]:
    """Returns the levels as a list, and whether `q` was a single number."""
    one = isinstance(q, (int, float))
    found = [float(q)] if isinstance(q, (int, float)) else [float(each) for each in q]
    if not found or not all(0 <= each <= 1 for each in found):
        raise ValueError(f"Prediction.quantiles: q must be levels in 0 .. 1; got {q!r}. Try [0.05, 0.5, 0.95].")
    return found, one


def quantiles(values: Tensor, q: float | Sequence[float]) -> Tensor:
    """Returns the quantiles along axis 0, with linear interpolation."""
    wanted, one = _levels(q)
    ordered = values.sort(0).values
    found = torch.stack([_at(ordered, level * (len(values) - 1)) for level in wanted])
    return found[0] if one else found


def of_quantiles(values: Tensor, q: float | Sequence[float]) -> Tensor:
    """Returns the standard error of quantiles: half the range of the order statistics one binomial deviation to each side."""
    wanted, one = _levels(q)
    ordered, last = values.sort(0).values, len(values) - 1
    spread = [math.sqrt(level * (1 - level) / len(values)) for level in wanted]
    low = [_at(ordered, max(0.0, level - wide) * last) for level, wide in zip(wanted, spread, strict=True)]
    high = [_at(ordered, min(1.0, level + wide) * last) for level, wide in zip(wanted, spread, strict=True)]
    found = torch.stack([(b - a) / 2 for a, b in zip(low, high, strict=True)])
    return found[0] if one else found


def _at(ordered: Tensor, place: float) -> Tensor:
    low = min(int(place), len(ordered) - 1)
    return torch.lerp(ordered[low], ordered[min(low + 1, len(ordered) - 1)], place - low)


def of_share(share: Tensor, n: int) -> Tensor:
    """Returns the standard error of a fraction of n draws, at the fraction that two draws more of each outcome give.

    At the fraction itself it would be 0 for any n where all draws agree. NaN of one draw.
    """
    moved = (share * n + 2) / (n + 4)
    return (moved * (1 - moved) / n).sqrt() if n > 1 else torch.full_like(share, math.nan)


def bad_rows(*tensors: Tensor) -> int:
    """Returns in how many rows draws `(n, B, ...)` hold NaN in any of the tensors."""
    bad = [part.isnan().any(0)[:, None].flatten(1).any(1) for part in tensors]
    return int(torch.stack(bad).any(0).sum())
