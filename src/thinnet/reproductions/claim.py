"""A published claim, what we measure for it, and the rule that compares the two."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from thinnet.reproductions.pictures import Pictures
from thinnet.study.evidence.statistics import LEVEL, Estimate, Interval

Outcome = Literal["agree", "differ", "cannot tell"]
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Part:
    """One number that a claim predicts.

    Args:
        value: what is measured; the key in the values of a seed.
        low: the lower end of the predicted range of its mean.
        high: the upper end.
    """

    value: str
    low: float = -inf
    high: float = inf

    @property
    def predicted(self) -> str:
        """Returns the range in words.

        >>> Part("a", high=0.0).predicted, Part("a", low=0.5).predicted, Part("a", -0.5, 0.5).predicted
        ('below 0', 'above 0.5', '-0.5 to 0.5')
        """
        if self.low == -inf:
            return f"below {self.high:g}"
        return f"above {self.low:g}" if self.high == inf else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Claim:
    """A claim of a paper.

    Args:
        name: for the command line.
        source: the paper, and where in it.
        says: the statement of the paper, in one sentence.
        task: what we train and on what, in one sentence.
        parts: the numbers that follow from the statement.
        measure: takes a seed and pictures, and returns the value of every part; it depends on nothing else.
    """

    name: str
    source: str
    says: str
    task: str
    parts: tuple[Part, ...]
    measure: Callable[[int, Pictures], dict[str, float]]


@dataclass(frozen=True)
class Finding:
    """One part of a claim after the measurement.

    Args:
        part: what was predicted.
        interval: of the mean over seeds; all intervals of one claim hold together at 95 % (Bonferroni).
        outcome: the comparison of the two.
    """

    part: Part
    interval: Interval
    outcome: Outcome


def compare(parts: Sequence[Part], values: Sequence[Mapping[str, float]]) -> list[Finding]:
    """Compares the predicted ranges with the intervals over seeds.

    A part agrees if its interval lies in the predicted range, differs if the two have nothing in common, and otherwise the
    seeds cannot tell.

    Args:
        parts: of a claim.
        values: of every seed, at least 3.

    Example:
        >>> [found] = compare([Part("difference", high=0.0)], [{"difference": value} for value in (-1.1, -1.0, -0.9)])
        >>> found.outcome, round(found.interval.mean, 3)
        ('agree', -1.0)
    """
    level = 1 - (1 - LEVEL) / len(parts)
    found = []
    for part in parts:
        numbers = np.array([each[part.value] for each in values])
        error = float(numbers.std(ddof=1) / len(numbers) ** 0.5)
        interval = Estimate(float(numbers.mean()), error, len(numbers) - 1).interval(level)
        inside = part.low <= interval.low and interval.high <= part.high
        outside = interval.high < part.low or interval.low > part.high
        found.append(Finding(part, interval, "agree" if inside else "differ" if outside else "cannot tell"))
    return found


def overall(findings: Sequence[Finding]) -> Outcome:
    """Returns the outcome of a claim: it agrees if all its parts do, and differs if one does.

    >>> overall([])
    'cannot tell'
    """
    outcomes = [finding.outcome for finding in findings]
    if "differ" in outcomes:
        return "differ"
    return "agree" if outcomes and set(outcomes) == {"agree"} else "cannot tell"
