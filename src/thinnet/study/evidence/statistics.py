"""Means of paired differences, with both the seeds and the test rows random: intervals, probabilities and power."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
POWER = 0.8


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; `case_share` is the share of the squared standard error due to the test rows, 0 to 1."""

    mean: float
    low: float
    high: float
    case_share: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """A mean whose error has a scaled t distribution.

    Args:
        mean: the mean.
        error: its standard error.
        freedom: the degrees of freedom of the standard error.
        case_share: the share of the squared standard error due to the test rows, 0 to 1.
    """

    mean: float
    error: float
    freedom: float
    case_share: float = 0.0

    def interval(self, level: float = LEVEL) -> Interval:
        """Returns the interval with this coverage."""
        half = stats.t.ppf((1 + level) / 2, self.freedom) * self.error
        return Interval(self.mean, float(self.mean - half), float(self.mean + half), self.case_share)

    def below(self, value: float) -> float:
        """Returns the probability that the true mean is below a value, under a flat prior."""
        return float(stats.t.cdf(value, self.freedom, self.mean, max(self.error, np.finfo(float).tiny)))

    def detectable(self, level: float = LEVEL, power: float = POWER) -> float:
        """Returns the true mean at which an interval with this coverage excludes zero with probability `power`.

        Example:
            >>> round(Estimate(mean=0.0, error=1.0, freedom=1e9).detectable(), 2)
            2.8
        """
        quantiles = stats.t.ppf([(1 + level) / 2, power], self.freedom)
        return float(self.error * quantiles.sum())


def seed_interval(values: np.ndarray) -> Interval:
    """Returns the t interval for the mean of one number per seed.

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
    return Estimate(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5), len(values) - 1).interval()


def ratio_interval(ratios: np.ndarray) -> Interval:
    """Returns the t interval for the geometric mean of one positive ratio per seed.

    Example:
        >>> interval = ratio_interval(np.array([0.5, 0.5, 0.5]))
        >>> interval.low, interval.mean, interval.high
        (0.5, 0.5, 0.5)
    """
    logs = seed_interval(np.log(np.asarray(ratios, dtype=np.float64)))
    low, mean, high = np.exp([logs.low, logs.mean, logs.high]).tolist()
    return Interval(mean, low, high)


def crossed_interval(differences: np.ndarray, level: float = LEVEL) -> Interval:
    """Returns the interval for a mean over seeds and rows, both of them random; see `crossed_estimate`.

    Example:
        >>> interval = crossed_interval(np.array([[1.0, 3.0], [1.0, 3.0]]))
        >>> interval.mean, interval.case_share
        (2.0, 1.0)
    """
    return crossed_estimate(differences).interval(level)


def crossed_estimate(differences: np.ndarray, correlation: float = 0.0) -> Estimate:
    """Returns the mean over seeds and rows, both of them random, with its standard error.

    With d[s, i] = mu + seed[s] + row[i] + rest[s, i] the mean has the variance (MS_seed + MS_row - MS_rest) / (S N), where
    MS are the mean squares of the two-way table. The estimate is never below either of its first two parts. Its degrees
    of freedom are Satterthwaite's (Biometrics Bulletin 2:110, 1946). A correlation r between seeds multiplies MS_seed by
    1 + S r / (1 - r) (Nadeau and Bengio, Machine Learning 52:239, 2003).

    Args:
        differences: shape (S, N), at least two seeds and two rows.
        correlation: of the seeds, in [0, 1).

    Raises:
        ValueError: there are fewer than two seeds or rows.

    Example:
        >>> plain, wide = (crossed_estimate(np.array([[0.0, 0.0], [1.0, 1.0]]), r) for r in (0.0, 0.5))
        >>> plain.error, round((wide.error / plain.error) ** 2)
        (0.5, 3)
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or min(d.shape) < 2:
        raise ValueError(
            f"crossed_estimate: differences must be at least 2 seeds by 2 rows; got shape {d.shape}. Use more seeds."
        )
    seeds, rows = d.shape
    by_seed, by_row = d.mean(axis=1), d.mean(axis=0)
    rest = d - by_seed[:, None] - by_row[None, :] + d.mean()
    squares = np.array([rows * by_seed.var(ddof=1), seeds * by_row.var(ddof=1), 0.0])
    free = np.array([seeds - 1, rows - 1, (seeds - 1) * (rows - 1)])
    squares[2] = min((rest**2).sum() / free[2], squares[:2].min())
    squares[0] *= 1 + seeds * correlation / (1 - correlation)
    variance = (squares[0] + squares[1] - squares[2]) / d.size
    tiny = np.finfo(float).tiny
    freedom = max(float((variance * d.size) ** 2 / max((squares**2 / free).sum(), tiny)), 1.0)
    return Estimate(float(d.mean()), float(variance**0.5), freedom, float(squares[1] / max(squares[:2].sum(), tiny)))
