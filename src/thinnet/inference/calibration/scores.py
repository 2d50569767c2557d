"""Scores of predicted probabilities and densities, with bootstrap intervals."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from thinnet.report.intervals import wilson

LEVEL = 0.95
Z = 1.959964
LEVELS = tuple(step / 20 for step in range(1, 20))
CHUNK = 1 << 22  # resampling weights held at a time

Statistic = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Score:
    """A score on the test cases, with its 95 % interval over the cases.

    The interval is that of the basic bootstrap, `2 value - quantiles of the resampled values`. It removes the bias of binned
    errors: on resampled cases a calibration error is too large on average.

    Args:
        value: the score of the cases.
        low, high: the interval.
        resampled: the score of each resample of the cases, `(R,)`. All rows share the resamples, so differences are paired.

    Source: Davison, Hinkley 1997, "Bootstrap Methods and their Application", 5.2.
    """

    value: float
    low: float
    high: float
    resampled: Tensor = field(repr=False, compare=False)

    def __sub__(self, other: "Score") -> "Score":
        return score(self.value - other.value, self.resampled - other.resampled)


def score(value: float, resampled: Tensor, floor: float = -math.inf) -> Score:
    """Returns a score with its bootstrap interval, cut off at `floor`."""
    low, high = torch.quantile(resampled, torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=resampled.dtype)).tolist()
    return Score(value, max(floor, 2 * value - high), max(floor, 2 * value - low), resampled)


def mean(values: Tensor) -> Statistic:
    """The mean of one value per case, `(B,)`, as a statistic of case weights."""
    return lambda weights: weights @ values / len(values)


def root_mean(values: Tensor) -> Statistic:
    """The root of the mean of one value per case, `(B,)`, as a statistic of case weights."""
    return lambda weights: (weights @ values / len(values)).sqrt()


def gap(confidence: Tensor, correct: Tensor, bins: Tensor) -> Statistic:
    """The binned calibration error: the mean over cases of |accuracy - confidence| of their bin, `bins` giving its number."""
    differences = torch.nn.functional.one_hot(bins).to(confidence.dtype) * (correct - confidence)[:, None]
    return lambda weights: (weights @ differences).abs().sum(1) / len(bins)


def area(confidence: Tensor, risk: Tensor) -> Statistic:
    """The area under the risk-coverage curve.

        AURC = 1/N sum over k of (mean risk of the k cases with the highest confidence)

    Source: Geifman, El-Yaniv 2017, arXiv:1705.08500; Geifman, Uziel, El-Yaniv 2019, arXiv:1805.08206.
    """
    order = confidence.argsort(descending=True, stable=True)
    ordered = risk[order]

    def statistic(weights: Tensor) -> Tensor:
        taken = weights[:, order]
        risks = (taken * ordered).cumsum(1) / taken.cumsum(1).clamp_min(1)
        return (taken * risks).sum(1) / taken.sum(1)

    return statistic


def off_level(covered: Tensor) -> Statistic:
    """The mean over levels of |coverage - level|; `covered` is `(B, levels)`."""
    levels = torch.tensor(LEVELS, dtype=covered.dtype)
    return lambda weights: (weights @ covered / len(covered) - levels).abs().mean(1)


def scored(
    statistics: Mapping[str, Statistic],
    points: Mapping[str, float],
    proportions: Collection[str],
    cases: int,
    resamples: int,
    seed: int,
    unbounded: Collection[str] = (),
) -> dict[str, Score]:
    """Returns a `Score` for each statistic; the same seed resamples the same cases.

    Args:
        statistics: functions of weights `(R, B)`, the count of each case in each resample; each returns `(R,)`.
        points: values of the cases themselves that another library has computed.
        proportions: names of proportions of the cases; they get Wilson's interval, which has a width at 0 and at 1 too.
        cases: the number of cases, B.
        resamples: the number of resamples, R.
        seed: the seed of the resampling.
        unbounded: names of scores that can be below zero.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, list[Tensor]] = {name: [] for name in statistics}
    step = max(1, CHUNK // cases)
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        picks = torch.randint(cases, (rows, cases), generator=generator)
        weights = torch.zeros(rows, cases, dtype=torch.float64)
        weights.scatter_add_(1, picks, torch.ones_like(weights))
        for name, statistic in statistics.items():
            parts[name].append(statistic(weights))
    whole = torch.ones(1, cases, dtype=torch.float64)
    found = {}
    for name, values in parts.items():
        value, resampled = points.get(name, statistics[name](whole).item()), torch.cat(values)
        plain = score(value, resampled, floor=-math.inf if name in unbounded else 0.0)
        found[name] = Score(value, *wilson(value, cases, Z), resampled) if name in proportions else plain
    return found


def equal_width(confidence: Tensor, bins: int) -> Tensor:
    """Returns the bin of each confidence among `bins` equal parts of 0 .. 1, as torchmetrics counts them.

    >>> equal_width(torch.tensor([0.0, 0.5, 0.99, 1.0]), 4)
    tensor([0, 2, 3, 4])
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype)
    return torch.bucketize(confidence, edges, right=True) - 1


def equal_count(confidence: Tensor, bins: int) -> Tensor:
    """Returns the group of each case among `bins` groups of equal size, the least confident first.

    >>> equal_count(torch.tensor([0.9, 0.3, 0.8, 0.4]), 2)
    tensor([1, 0, 1, 0])
    """
    ranks = confidence.argsort(stable=True).argsort()
    return ranks * min(bins, len(confidence)) // len(confidence)
