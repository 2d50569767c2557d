"""Two methods at one rate: the difference of their test losses, and the ratio of their training times."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from thinnet.study.data.tasks import Task
from thinnet.study.design.configuration import Configuration, Line
from thinnet.study.design.plan import FEWEST_SEEDS, Plan
from thinnet.study.evidence.agreement import Evidence, level, weigh
from thinnet.study.evidence.statistics import Interval, crossed_interval
from thinnet.study.findings.cost import Ratio, ratio, to_target
from thinnet.study.training.scores import Scores
from thinnet.study.training.trial import Trial

Rounds = Mapping[Configuration, list[Trial]]
"""The trials of every configuration, in the order of seeds."""


@dataclass(frozen=True)
class Comparison:
    """One line compared with another at one rate, on the test set and each trial at its best epoch.

    Args:
        line: the method, its place and its schedule.
        other: the line that it is compared with.
        rate: the rate of both.
        loss: the test loss of the line.
        loss_against: the test loss of the other.
        interval: of `loss` less `loss_against`, with seeds and rows both random; None with too few seeds.
        wide: the same, widened so that all rates together are covered at 95 % (Bonferroni).
        evidence: whether the line is shown to be better or worse, corrected for all comparisons; None with too few seeds.
        error: the test error of the method.
        error_against: the test error of the other.
        error_interval: of `error` less `error_against`.
        seconds: the ratio of the training times of all epochs.
        seconds_to_target: the ratio of the times to the lowest validation loss that both reach at a seed.
    """

    line: Line
    other: Line
    rate: float
    loss: float
    loss_against: float
    interval: Interval | None
    wide: Interval | None
    evidence: Evidence | None
    error: float
    error_against: float
    error_interval: Interval | None
    seconds: Ratio
    seconds_to_target: Ratio

    @property
    def method(self) -> str:
        """The line in words."""
        return self.line.label

    @property
    def against(self) -> str:
        """The other line in words."""
        return self.other.label


def comparable(plan: Plan, complete: Container[Configuration]) -> list[tuple[Configuration, Configuration]]:
    """Pairs every line with the first of the plan, at every rate where both are complete."""
    first, *others = plan.lines
    pairs = [(line.at(rate), first.at(rate)) for line in others for rate in plan.rates[1:]]
    return [pair for pair in pairs if all(each in complete for each in pair)]


def compare(
    task: Task,
    pairs: Sequence[tuple[Configuration, Configuration]],
    rounds: Rounds,
    scores: Mapping[Configuration, Mapping[str, Scores]],
) -> list[Comparison]:
    """Compares the two configurations of every pair.

    Args:
        task: how the errors of rows become one error.
        pairs: of one rate each, all with the same number of seeds.
        rounds: the trials.
        scores: the test scores of every configuration, with its `best` weights.
    """
    both = [[(rounds[each], scores[each]["best"]) for each in pair] for pair in pairs]
    tables = [ours["loss"] - theirs["loss"] for (_, ours), (_, theirs) in both]
    enough = bool(tables) and len(tables[0]) >= FEWEST_SEEDS
    found = weigh(tables) if enough else [None] * len(pairs)
    wide = level(len(pairs))
    return [_compared(task, *pair, sides, evidence, wide) for pair, sides, evidence in zip(pairs, both, found, strict=True)]


def _compared(
    task: Task,
    one: Configuration,
    other: Configuration,
    sides: list[tuple[list[Trial], Scores]],
    evidence: Evidence | None,
    wide: float,
) -> Comparison:
    (trials, ours), (base, theirs) = sides
    loss = ours["loss"] - theirs["loss"]
    error = task.error_difference(ours["error"], theirs["error"])
    enough = len(trials) >= FEWEST_SEEDS
    return Comparison(
        line=one.line,
        other=other.line,
        rate=one.rate,
        loss=float(ours["loss"].mean()),
        loss_against=float(theirs["loss"].mean()),
        interval=crossed_interval(loss) if enough else None,
        wide=crossed_interval(loss, wide) if enough else None,
        evidence=evidence,
        error=task.total(float(ours["error"].mean())),
        error_against=task.total(float(theirs["error"].mean())),
        error_interval=crossed_interval(error) if enough else None,
        seconds=ratio([a.seconds / b.seconds for a, b in zip(trials, base, strict=True)]),
        seconds_to_target=ratio([to_target(a, b) for a, b in zip(trials, base, strict=True)]),
    )
