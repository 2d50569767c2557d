"""Two methods at one rate: the difference of their test losses, and the ratio of their training times."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from thinnet.study.plan import FEWEST_SEEDS, Configuration, Plan
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
    """One method compared with another at one rate, on the test set and each trial at its best epoch.

    Args:
        method: the method.
        against: the method that it is compared with.
        rate: the rate of both.
        loss: the test loss of the method.
        loss_against: the test loss of the other.
        interval: of `loss` less `loss_against`, with seeds and rows both random; None with too few seeds.
        wide: the same, widened so that all rates together are covered at 95 % (Bonferroni).
        error: the test error of the method.
        error_against: the test error of the other.
        error_interval: of `error` less `error_against`.
        seconds: the ratio of the training times of all epochs.
        seconds_to_target: the ratio of the times to the lowest validation loss that both reach at a seed.
    """

    method: str
    against: str
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
    def differs(self) -> bool:
        """Whether the widened interval excludes zero."""
        return self.wide is not None and not self.wide.low <= 0 <= self.wide.high


def compare(task: Task, plan: Plan, rounds: Rounds, scores: Mapping[Configuration, Mapping[str, Scores]]) -> list[Comparison]:
    """Compare every method with the first of the plan, at every rate above 0.

    Args:
        task: how the errors of rows become one error.
        plan: names the methods and the rates.
        rounds: the trials.
        scores: the test scores of every configuration, with its `best` weights.
    """
    first, *others = plan.methods
    tests = len(others) * (len(plan.rates) - 1)
    found = []
    for method in others:
        for rate in plan.rates[1:]:
            one, other = Configuration(method, rate), Configuration(first, rate)
            pair = [(rounds[each], scores[each]["best"]) for each in (one, other)]
            found.append(_compared(task, one, other, pair, 1 - (1 - LEVEL) / tests))
    return found


def _compared(
    task: Task, one: Configuration, other: Configuration, pair: list[tuple[list[Trial], Scores]], wide: float
) -> Comparison:
    (trials, ours), (base, theirs) = pair
    loss = ours["loss"] - theirs["loss"]
    error = task.error_difference(ours["error"], theirs["error"])
    enough = len(trials) >= FEWEST_SEEDS
    return Comparison(
        method=one.method,
        against=other.method,
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
        >>> fast = Trial(0.5, 0, {"validation_loss": [0.4, 0.2, 0.3]}, best=1, seconds=3.0)
        >>> slow = Trial(0.5, 0, {"validation_loss": [0.5, 0.4, 0.3]}, best=2, seconds=6.0)
        >>> round(to_target(fast, slow), 3)  # 0.3 after 2 of 3 seconds, and after 6 of 6
        0.333
    """
    target = max(min(each.curves["validation_loss"]) for each in (trial, base))
    return _seconds_until(trial, target) / _seconds_until(base, target)


def _seconds_until(trial: Trial, target: float) -> float:
    losses = np.array(trial.curves["validation_loss"])
    return trial.seconds * (int((losses <= target).argmax()) + 1) / len(losses)  # every epoch takes equally long
