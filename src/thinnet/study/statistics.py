"""Intervals for paired differences that treat both the seeds and the test rows as random."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; `case_share` is the share of the squared standard error due to the test rows, 0 to 1."""

    mean: float
    low: float
    high: float
    case_share: float = 0.0


@dataclass(frozen=True)
class Contrast:
    """One quantity on the test set, for two choices.

    Args:
        chosen: its value for the choice, such as the chosen rate.
        without: its value for the alternative, such as rate 0.
        interval: of `chosen` less `without`, with seeds and rows both random; None with too few seeds.
    """

    chosen: float
    without: float
    interval: Interval | None


def seed_interval(values: np.ndarray) -> Interval:
    """Return the t interval for the mean of one number per seed.

    Args:
        values: shape (S,), at least two.

    Raises:
        ValueError: there are fewer than two values.

    Example:
        >>> interval = seed_interval(np.array([1.0, 2.0, 3.0]))
        >>> round(interval.low, 3), interval.mean, round(interval.high, 3)
        (-0.484, 2.0, 4.484)
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"seed_interval: values must be two or more numbers; got shape {values.shape}. Use more seeds.")
    return _interval(values.mean(), values.var(ddof=1) / len(values), len(values) - 1)


def ratio_interval(ratios: np.ndarray) -> Interval:
    """Return the t interval for the geometric mean of one positive ratio per seed.

    Example:
        >>> interval = ratio_interval(np.array([0.5, 0.5, 0.5]))
        >>> interval.low, interval.mean, interval.high
        (0.5, 0.5, 0.5)
    """
    logs = seed_interval(np.log(np.asarray(ratios, dtype=np.float64)))
    low, mean, high = np.exp([logs.low, logs.mean, logs.high]).tolist()
    return Interval(mean, low, high)


def crossed_interval(differences: np.ndarray, level: float = LEVEL) -> Interval:
    """Return the interval for a mean over seeds and rows, both of them random.

    With d[s, i] = mu + seed[s] + row[i] + rest[s, i] the mean has the variance (MS_seed + MS_row - MS_rest) / (S N), where
    MS are the mean squares of the two-way table. The estimate is never below either of its first two parts. Its degrees
    of freedom are Satterthwaite's (Biometrics Bulletin 2:110, 1946).

    Args:
        differences: shape (S, N), at least two seeds and two rows.
        level: the coverage.

    Raises:
        ValueError: there are fewer than two seeds or rows.

    Example:
        >>> interval = crossed_interval(np.array([[1.0, 3.0], [1.0, 3.0]]))
        >>> interval.mean, interval.case_share
        (2.0, 1.0)
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or min(d.shape) < 2:
        raise ValueError(
            f"crossed_interval: differences must be at least 2 seeds by 2 rows; got shape {d.shape}. Use more seeds."
        )
    seeds, rows = d.shape
    by_seed, by_row = d.mean(axis=1), d.mean(axis=0)
    rest = d - by_seed[:, None] - by_row[None, :] + d.mean()
    squares = np.array([rows * by_seed.var(ddof=1), seeds * by_row.var(ddof=1), 0.0])
    free = np.array([seeds - 1, rows - 1, (seeds - 1) * (rows - 1)])
    squares[2] = min((rest**2).sum() / free[2], squares[:2].min())
    variance = (squares[0] + squares[1] - squares[2]) / d.size
    freedom = (variance * d.size) ** 2 / max((squares**2 / free).sum(), np.finfo(float).tiny)
    return _interval(d.mean(), variance, max(freedom, 1.0), squares[1] / max(squares[:2].sum(), np.finfo(float).tiny), level)


def _interval(mean: float, variance: float, freedom: float, case_share: float = 0.0, level: float = LEVEL) -> Interval:
    half = stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(variance)
    return Interval(float(mean), float(mean - half), float(mean + half), float(case_share))
