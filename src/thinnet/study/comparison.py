"""Two methods at one rate: the difference of their test losses, and the ratio of their training times."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thinnet.study.configuration import Configuration, Line
from thinnet.study.plan import FEWEST_SEEDS, Plan
from thinnet.study.scores import Scores
from thinnet.study.statistics import LEVEL, Interval, crossed_interval, ratio_interval
from thinnet.study.tasks import Task
from thinnet.study.trial import Trial

Rounds = Mapping[Configuration, list[Trial]]
"""The trials of every configuration, in the order of seeds."""


@dataclass(frozen=True)
class Ratio:
    """The geometric mean over seeds of a ratio of times; the interval is None with too few seeds."""

    mean: float
    interval: Interval | None


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

    @property
    def differs(self) -> bool:
        """Whether the widened interval excludes zero."""
        return self.wide is not None and not self.wide.low <= 0 <= self.wide.high


def comparable(plan: Plan, complete: Container[Configuration]) -> list[tuple[Configuration, Configuration]]:
    """Pair every line with the first of the plan, at every rate where both are complete."""
    first, *others = plan.lines
    pairs = [(line.at(rate), first.at(rate)) for line in others for rate in plan.rates[1:]]
    return [pair for pair in pairs if all(each in complete for each in pair)]


def compare(
    task: Task,
    pairs: Sequence[tuple[Configuration, Configuration]],
    rounds: Rounds,
    scores: Mapping[Configuration, Mapping[str, Scores]],
) -> list[Comparison]:
    """Compare the two configurations of every pair.

    Args:
        task: how the errors of rows become one error.
        pairs: of one rate each, all with the same number of seeds.
        rounds: the trials.
        scores: the test scores of every configuration, with its `best` weights.
    """
    wide = 1 - (1 - LEVEL) / max(len(pairs), 1)
    return [
        _compared(task, one, other, [(rounds[each], scores[each]["best"]) for each in (one, other)], wide)
        for one, other in pairs
    ]


def _compared(
    task: Task, one: Configuration, other: Configuration, pair: list[tuple[list[Trial], Scores]], wide: float
) -> Comparison:
    (trials, ours), (base, theirs) = pair
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
        error=task.total(float(ours["error"].mean())),
        error_against=task.total(float(theirs["error"].mean())),
        error_interval=crossed_interval(error) if enough else None,
        seconds=ratio([a.seconds / b.seconds for a, b in zip(trials, base, strict=True)]),
        seconds_to_target=ratio([to_target(a, b) for a, b in zip(trials, base, strict=True)]),
    )


def ratio(values: list[float]) -> Ratio:
    """Return the geometric mean of one ratio per seed, with its interval where there are enough seeds."""
    mean = float(np.exp(np.log(values).mean()))
    return Ratio(mean, ratio_interval(np.array(values)) if len(values) >= FEWEST_SEEDS else None)


def to_target(trial: Trial, base: Trial) -> float:
    """Return the ratio of the training times of two trials to the lowest validation loss that both reach.

    Example:
        >>> from dataclasses import replace
        >>> fast = Trial(Configuration("dropout", 0.5), 0, {"validation_loss": [0.4, 0.2, 0.3]}, best=1, seconds=3.0)
        >>> slow = replace(fast, curves={"validation_loss": [0.5, 0.4, 0.3]}, best=2, seconds=6.0)
        >>> round(to_target(fast, slow), 3)  # 0.3 after 2 of 3 seconds, and after 6 of 6
        0.333
    """
    target = max(min(each.curves["validation_loss"]) for each in (trial, base))
    return _seconds_until(trial, target) / _seconds_until(base, target)


def _seconds_until(trial: Trial, target: float) -> float:
    losses = np.array(trial.curves["validation_loss"])
    return trial.seconds * (int((losses <= target).argmax()) + 1) / len(losses)  # every epoch takes equally long
