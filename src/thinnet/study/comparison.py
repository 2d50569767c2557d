"""Two methods at one rate: how their test losses differ, and how long each trains."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from thinnet.study.plan import FEWEST_SEEDS, Plan
from thinnet.study.scores import Scores
from thinnet.study.statistics import LEVEL, Interval, crossed_interval, ratio_interval
from thinnet.study.tasks import Task
from thinnet.study.trial import Trial

Arm = tuple[str, float]
"""A method and a rate."""
Rounds = Mapping[Arm, list[Trial]]
"""The trials of every arm, in the order of seeds."""


@dataclass(frozen=True)
class Ratio:
    """The geometric mean over seeds of a time of one method over that of another; no interval with too few seeds."""

    mean: float
    interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """One method beside another at one rate, on the test rows and each trial at its best epoch.

    Args:
        method: the one.
        against: the other.
        rate: of both.
        loss: of the one.
        loss_against: of the other.
        interval: of `loss` less `loss_against`, seeds and rows both counted as random; none with too few seeds.
        wide: the same, widened so that all rates of the study together are covered at 95 % (Bonferroni).
        error: of the one.
        error_against: of the other.
        error_interval: of `error` less `error_against`.
        seconds: the training time of the one over that of the other, for all epochs.
        seconds_to_target: the same up to the lowest hold-out loss that both reach at a seed.
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
        """Whether the widened interval lies on one side of zero."""
        return self.wide is not None and not self.wide.low <= 0 <= self.wide.high


def compare(
    task: Task, plan: Plan, rounds: Rounds, scores: Mapping[tuple[str, float], Mapping[str, Scores]]
) -> list[Comparison]:
    """Sets every method beside the first one of the plan, at every rate above 0.

    Args:
        task: says how errors of rows become one error.
        plan: names the methods and the rates.
        rounds: the trials.
        scores: what the test rows say of every arm, for `best` weights.

    Returns:
        One a method and a rate; none where the plan has one method.
    """
    first, *others = plan.methods
    tests = len(others) * (len(plan.rates) - 1)
    found = []
    for method in others:
        for rate in plan.rates[1:]:
            pair = [(rounds[name, rate], scores[name, rate]["best"]) for name in (method, first)]
            (trials, ours), (base, theirs) = pair
            loss = ours["loss"] - theirs["loss"]
            error = task.error_difference(ours["error"], theirs["error"])
            enough = len(trials) >= FEWEST_SEEDS
            found.append(
                Comparison(
                    method=method,
                    against=first,
                    rate=rate,
                    loss=float(ours["loss"].mean()),
                    loss_against=float(theirs["loss"].mean()),
                    interval=crossed_interval(loss) if enough else None,
                    wide=crossed_interval(loss, 1 - (1 - LEVEL) / tests) if enough else None,
                    error=task.total(float(ours["error"].mean())),
                    error_against=task.total(float(theirs["error"].mean())),
                    error_interval=crossed_interval(error) if enough else None,
                    seconds=ratio([a.seconds / b.seconds for a, b in zip(trials, base, strict=True)]),
                    seconds_to_target=ratio([to_target(a, b) for a, b in zip(trials, base, strict=True)]),
                )
            )
    return found


def ratio(values: list[float]) -> Ratio:
    """Averages ratios of times.

    Args:
        values: one a seed.

    Returns:
        Their geometric mean, with its interval where there are seeds enough.
    """
    mean = float(np.exp(np.log(values).mean()))
    return Ratio(mean, ratio_interval(np.array(values)) if len(values) >= FEWEST_SEEDS else None)


def to_target(trial: Trial, base: Trial) -> float:
    """Divides the training times of two trials up to the lowest hold-out loss that both reach.

    Args:
        trial: the one.
        base: the other, of the same seed.

    Returns:
        The ratio.

    Example:
        >>> fast = Trial(0.5, 0, {"validation_loss": [0.4, 0.2, 0.3]}, best=1, seconds=3.0)
        >>> slow = Trial(0.5, 0, {"validation_loss": [0.5, 0.4, 0.3]}, best=2, seconds=6.0)
        >>> round(to_target(fast, slow), 3)  # 0.3 after 2 of 3 seconds, and after 6 of 6
        0.333
    """
    target = max(min(each.curves["validation_loss"]) for each in (trial, base))
    return seconds_until(trial, target) / seconds_until(base, target)


def seconds_until(trial: Trial, target: float) -> float:
    """Counts the seconds of training until the hold-out loss is at or below a target.

    Args:
        trial: takes every epoch as long as any other.
        target: a loss that the trial reaches.

    Returns:
        Seconds.
    """
    losses = np.array(trial.curves["validation_loss"])
    return trial.seconds * (int((losses <= target).argmax()) + 1) / len(losses)
