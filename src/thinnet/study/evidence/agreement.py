"""Evidence that a configuration is better or worse: three methods have to agree, and there have to be enough pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from thinnet.study.evidence.statistics import LEVEL, Interval, crossed_interval

FEWEST_PAIRS = 8
"""The fewest seeds for "better": with 8 the smallest p-value of the sign-flip test is 1/256, below 0.05 / 3."""

RESAMPLES = 9999


@dataclass(frozen=True)
class Evidence:
    """What the paired differences of one candidate show; below zero is better.

    Args:
        better: whether the mean difference is shown to be below zero.
        worse: whether it is shown to be above zero.
        p_value: of the one-sided sign-flip test in the direction of the mean difference, after Holm's correction.
        comparisons: the number of comparisons that its intervals are corrected for.
    """

    better: bool
    worse: bool
    p_value: float
    comparisons: int = 1


def weigh(tables: Sequence[np.ndarray], chosen_from: int = 1) -> list[Evidence]:
    """Decides for every candidate whether it is better or worse than the baseline.

    With at least FEWEST_PAIRS seeds, three methods have to agree: the one-sided sign-flip test over seeds, the BCa bootstrap
    interval over seeds, and the t interval over seeds and rows. Their levels follow Holm (Scandinavian Journal of Statistics
    6:65, 1979), so that the family-wise error rate is at most 5 %. For "better" the intervals are also widened for the
    number of configurations that the candidates were chosen from: a network that is lucky on the validation set is lucky on
    the test set.

    Args:
        tables: for each candidate its paired differences from the baseline, (S, N): seeds by test rows.
        chosen_from: how many configurations the validation loss has chosen the candidates from.

    Example:
        >>> clear = np.random.default_rng(0).normal(-1.0, 0.1, size=(8, 20))
        >>> [each.better for each in weigh([clear, np.zeros((8, 20)), clear[:7]])]
        [True, False, False]
    """
    lower = [bool(table.mean() < 0) for table in tables]
    falling = [table if below else -table for table, below in zip(tables, lower, strict=True)]
    p_values = [sign_flip(table.mean(axis=1)) for table in falling]
    ranks = [(p_value, float(table.mean())) for p_value, table in zip(p_values, falling, strict=True)]
    found, adjusted, rejecting = {}, 0.0, True
    for rank, place in enumerate(sorted(range(len(tables)), key=ranks.__getitem__)):
        number, below = len(tables) - rank, lower[place]
        adjusted = max(adjusted, min(1.0, number * p_values[place]))
        comparisons = max(number, chosen_from if below else 1)
        rejecting = rejecting and adjusted <= 1 - LEVEL and _intervals_agree(falling[place], level(comparisons))
        found[place] = Evidence(rejecting and below, rejecting and not below, adjusted, comparisons)
    return [found[place] for place in range(len(tables))]


def level(number: int, chosen_from: int = 1) -> float:
    """Returns the coverage of one of several intervals, so that all are right at 95 % (Bonferroni).

    Args:
        number: of intervals.
        chosen_from: how many configurations they were chosen from.
    """
    return 1 - (1 - LEVEL) / max(number, chosen_from)


def sign_flip(differences: np.ndarray) -> float:
    """Returns the p-value against "the mean is not below zero": the share of sign patterns with a mean as low as this one.

    It is exact up to 13 seeds if the differences are symmetric about their mean (Pitman 1937).

    Args:
        differences: one number per seed, (S,).

    Example:
        >>> sign_flip(np.full(8, -1.0)) == 1 / 2**8
        True
    """
    found = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        alternative="less",
        n_resamples=RESAMPLES,
        vectorized=True,
        axis=-1,
        rng=0,
    )
    return float(found.pvalue)


def bca_interval(differences: np.ndarray, level: float = LEVEL) -> Interval:
    """Returns the BCa bootstrap interval for the mean of one number per seed (Efron, JASA 82:171, 1987).

    Args:
        differences: shape (S,), at least two.
        level: the coverage.

    Example:
        >>> interval = bca_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]))
        >>> 2.5 < interval.low < interval.mean < interval.high < 6.5
        True
    """
    mean, unit = float(differences.mean()), float(np.abs(differences).max())
    if np.ptp(differences) <= 1e-12 * unit:  # the jackknife of BCa has to vary
        return Interval(mean, mean, mean)
    data = (differences / unit,)  # BCa cubes the differences
    low, high = stats.bootstrap(data, np.mean, confidence_level=level, n_resamples=RESAMPLES, rng=0).confidence_interval
    return Interval(mean, unit * float(low), unit * float(high))


def _intervals_agree(table: np.ndarray, level: float) -> bool:
    if len(table) < FEWEST_PAIRS:
        return False
    return crossed_interval(table, level).high < 0 and bca_interval(table.mean(axis=1), level).high < 0
