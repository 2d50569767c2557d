"""Split-conformal prediction: quantiles of scores of rows that were held out."""

import math
from numbers import Real

import numpy as np


class Conformal:
    """The scores of the calibration rows.

    With N exchangeable rows, a new row has a score of at most the ceil((N + 1) coverage)-th smallest with a probability of at
    least `coverage`, if the calibration rows have decided nothing else of the score.

    Args:
        scores: (N, outputs); larger where a prediction is further from the truth.

    Source: Papadopoulos et al. 2002, Inductive confidence machines; Lei et al. 2018, arXiv:1604.04173.

    >>> Conformal(np.arange(99.0)[:, None]).quantile(0.9)
    array([89.])
    """

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = np.sort(scores, 0)
        self.owner = "quantile"

    def needed(self, owner: str) -> "Conformal":
        """Returns itself, if there are calibration rows.

        Raises:
            ValueError: there are none.
        """
        if not len(self.scores):
            advice = "Call fit with a larger calibration, such as 0.2, or with more rows."
            raise ValueError(f"{owner}: the estimator must be calibrated, on 20 rows or more; got 0 calibration rows. {advice}")
        self.owner = owner
        return self

    def quantile(self, coverage: float) -> np.ndarray:
        """Returns the score that a new row does not exceed with this probability, (outputs,).

        Raises:
            ValueError: the coverage is not in (0, 1), or needs more rows.
        """
        if isinstance(coverage, bool) or not isinstance(coverage, Real) or not 0 < coverage < 1:
            raise ValueError(f"{self.owner}: coverage must be in (0, 1); got {coverage!r}. Use 0.9.")
        rows = len(self.scores)
        rank = math.ceil((rows + 1) * coverage - 1e-9)
        if rank > rows:
            most = rows / (rows + 1)
            rule = f"{self.owner}: coverage must be at most {most:.3f} with {rows} calibration rows"
            raise ValueError(f"{rule}; got {coverage!r}. Use a larger calibration.")
        return self.scores[rank - 1]
