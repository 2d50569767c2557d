"""Confidence intervals that need no library."""

import math


def wilson(share: float, count: int, z: float) -> tuple[float, float]:
    """Returns the interval of a share of `count` independent trials (Wilson 1927).

    Args:
        share: the observed share, in [0, 1].
        count: the number of trials.
        z: the quantile of the normal distribution: 1.96 for 95 %, 2.576 for 99 %.

    >>> [round(end, 3) for end in wilson(0.5, 1000, 2.576)]
    [0.459, 0.541]
    """
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)
