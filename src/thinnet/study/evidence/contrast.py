"""Two choices compared on the test set: difference, interval, evidence, probabilities and power."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thinnet.study.data.dataset import Dataset
from thinnet.study.design.plan import FEWEST_SEEDS
from thinnet.study.evidence.agreement import Evidence, level, weigh
from thinnet.study.evidence.equivalence import SAME, Probabilities, probabilities
from thinnet.study.evidence.statistics import Interval, crossed_estimate
from thinnet.study.training.scores import Scores


@dataclass(frozen=True)
class Contrast:
    """One quantity on the test set, for two choices. With too few seeds, all but the first two are None.

    Args:
        chosen: its value for the choice, such as the chosen configuration.
        without: its value for the alternative, such as the baseline.
        interval: of `chosen` less `without`, with seeds and rows both random, corrected as the evidence is.
        detectable: the true difference that a study of this size finds in four of five cases.
        evidence: whether the choice is shown to be better or worse.
        probabilities: of better, practically the same, and worse.
    """

    chosen: float
    without: float
    interval: Interval | None
    detectable: float | None = None
    evidence: Evidence | None = None
    probabilities: Probabilities | None = None


def contrasts(data: Dataset, pairs: Sequence[tuple[Scores, Scores]], chosen_from: int = 1) -> list[dict[str, Contrast]]:
    """Returns for each pair of scores the contrast of `loss` and that of `error`, paired by row and seed.

    Args:
        data: the dataset.
        pairs: the scores of each choice and of its alternative; the evidence is corrected for their number.
        chosen_from: how many configurations the validation loss has chosen them from.
    """
    losses = [ours["loss"] - theirs["loss"] for ours, theirs in pairs]
    errors = [data.task.error_difference(ours["error"], theirs["error"]) for ours, theirs in pairs]
    sides = {
        "loss": [(float(ours["loss"].mean()), float(theirs["loss"].mean())) for ours, theirs in pairs],
        "error": [tuple(data.task.total(float(each["error"].mean())) for each in pair) for pair in pairs],
    }
    found = {name: _contrasts(data, sides[name], tables, chosen_from) for name, tables in (("loss", losses), ("error", errors))}
    return [{name: contrast[place] for name, contrast in found.items()} for place in range(len(pairs))]


def by_subgroup(data: Dataset, ours: Scores, theirs: Scores) -> dict[str, dict[str, Contrast]]:
    """Returns the contrasts of every subgroup of the test set, by name."""
    found = {}
    for name in () if data.subgroups is None else np.unique(data.subgroups):
        rows = data.subgroups == name
        one, other = ({key: values[:, rows] for key, values in scores.items()} for scores in (ours, theirs))
        found[str(name)] = contrasts(data, [(one, other)])[0]
    return found


def _contrasts(
    data: Dataset, sides: Sequence[tuple[float, float]], tables: Sequence[np.ndarray], chosen_from: int
) -> list[Contrast]:
    if not tables or len(tables[0]) < FEWEST_SEEDS:
        return [Contrast(*side, None) for side in sides]
    coverage, held_out = level(len(tables), chosen_from), data.validation_rows / len(data.development)
    found = []
    for side, table, evidence in zip(sides, tables, weigh(tables, chosen_from), strict=True):
        estimate = crossed_estimate(table)
        posterior = probabilities(table, SAME * abs(side[1]), held_out)
        interval = estimate.interval(level(evidence.comparisons))
        found.append(Contrast(*side, interval, estimate.detectable(coverage), evidence, posterior))
    return found
