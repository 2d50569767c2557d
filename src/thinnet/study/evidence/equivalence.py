"""The probabilities that a difference is better, practically the same, or worse."""

from dataclasses import dataclass

import numpy as np

from thinnet.study.evidence.statistics import crossed_estimate

SAME = 0.01
"""Two losses are practically the same within 1 % of the loss without dropout."""


@dataclass(frozen=True)
class Probabilities:
    """The probabilities of a difference below, within and above the region of practical equivalence; they add up to 1.

    Args:
        better: of a mean difference below the region.
        same: of one within it.
        worse: of one above it.
        region: half the width of the region.
    """

    better: float
    same: float
    worse: float
    region: float


def probabilities(differences: np.ndarray, region: float, held_out: float) -> Probabilities:
    """Returns the three probabilities for new rows of data, for training as for testing.

    The posterior is the correlated t distribution (Nadeau and Bengio, Machine Learning 52:239, 2003; Corani and Benavoli,
    Machine Learning 100:285, 2015). The seeds split the same rows, so their training sets overlap, and their correlation is
    estimated by the share of rows that a split holds out. To this comes the variance of the test rows, which all seeds share.

    Args:
        differences: paired differences of losses, (S, N): seeds by test rows.
        region: half the width of the region of practical equivalence.
        held_out: the validation share of the rows that a seed splits.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(8, 50))
        >>> found = probabilities(noise - 3.0, region=0.1, held_out=0.25)
        >>> found.better > 0.99, round(found.better + found.same + found.worse, 9)
        (True, 1.0)
    """
    estimate = crossed_estimate(differences, held_out)
    low, high = estimate.below(-region), estimate.below(region)
    return Probabilities(low, high - low, 1.0 - high, region)
