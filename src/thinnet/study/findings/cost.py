"""What dropout costs: the time of a training step, and the epochs and the time to a target loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thinnet.study.design.plan import FEWEST_SEEDS, Plan
from thinnet.study.evidence.statistics import Interval, ratio_interval
from thinnet.study.training.trial import Trial


@dataclass(frozen=True)
class Ratio:
    """The geometric mean over seeds of a ratio; the interval is None with too few seeds."""

    mean: float
    interval: Interval | None


@dataclass(frozen=True)
class Cost:
    """A configuration over the baseline, paired by seed. The target of a seed is the lowest validation loss that both reach.

    Args:
        configuration: the configuration in words.
        milliseconds: the median time of a training step of the baseline.
        step: the ratio of the times of a training step.
        epochs: the ratio of the epochs to the target.
        seconds: the ratio of the times to the target.
    """

    configuration: str
    milliseconds: float
    step: Ratio
    epochs: Ratio
    seconds: Ratio


def cost(plan: Plan, trials: Sequence[Trial], base: Sequence[Trial], rows: int) -> Cost:
    """Compares the cost of two configurations.

    Args:
        plan: the settings of both.
        trials: those of a configuration, in the order of seeds.
        base: those of the baseline.
        rows: the size of the training set.
    """
    pairs = list(zip(trials, base, strict=True))
    steps = plan.epochs * math.ceil(rows / plan.batch)
    return Cost(
        configuration=trials[0].configuration.label,
        milliseconds=float(1000 * np.median([each.seconds for each in base]) / steps),
        step=time_ratio(trials, base),
        epochs=ratio([epochs_to_target(a, b) for a, b in pairs]),
        seconds=ratio([to_target(a, b) for a, b in pairs]),
    )


def time_ratio(trials: Sequence[Trial], base: Sequence[Trial]) -> Ratio:
    """Returns the ratio of the training times of two configurations, paired by seed."""
    return ratio([a.seconds / b.seconds for a, b in zip(trials, base, strict=True)])


def ratio(values: list[float]) -> Ratio:
    """Returns the geometric mean of one ratio per seed, with its interval where there are enough seeds."""
    mean = float(np.exp(np.log(values).mean()))
    return Ratio(mean, ratio_interval(np.array(values)) if len(values) >= FEWEST_SEEDS else None)


def to_target(trial: Trial, base: Trial) -> float:
    """Returns the ratio of the training times of two trials to the lowest validation loss that both reach.

    Example:
        >>> from dataclasses import replace
        >>> from thinnet.study.design.configuration import Configuration
        >>> fast = Trial(Configuration("dropout", 0.5), 0, {"validation_loss": [0.4, 0.2, 0.3]}, best=1, seconds=3.0)
        >>> slow = replace(fast, curves={"validation_loss": [0.5, 0.4, 0.3]}, best=2, seconds=6.0)
        >>> round(to_target(fast, slow), 3)  # 0.3 after 2 of 3 seconds, and after 6 of 6
        0.333
    """
    return epochs_to_target(trial, base) * trial.seconds / base.seconds  # every epoch takes equally long


def epochs_to_target(trial: Trial, base: Trial) -> float:
    """Returns the ratio of the epochs of two trials to the lowest validation loss that both reach."""
    target = max(min(each.curves["validation_loss"]) for each in (trial, base))
    ours, theirs = (1 + int((np.array(each.curves["validation_loss"]) <= target).argmax()) for each in (trial, base))
    return ours / theirs


def ratio_text(ratio: Ratio) -> str:
    """Writes a ratio with its interval, such as "0.42x (0.40 to 0.45)".

    Example:
        >>> ratio_text(Ratio(0.42, None))
        '0.42x'
    """
    ends = f" ({ratio.interval.low:.2f} to {ratio.interval.high:.2f})" if ratio.interval else ""
    return f"{ratio.mean:.2f}x{ends}"


def cost_sentences(cost: Cost, loss_name: str) -> list[str]:
    """Returns one sentence on the time of a step, one on the epochs, and one on the time to the target.

    Example:
        >>> cost_sentences(Cost("p = 0.5", 0.8, Ratio(1.1, None), Ratio(2.0, None), Ratio(2.2, None)), "NLL")[0]
        'A training step at p = 0.5 takes 1.10x the time of one without dropout, 0.8 ms.'
    """
    target = f"To the lowest validation {loss_name} that both reach,"
    return [
        f"A training step at {cost.configuration} takes {ratio_text(cost.step)} the time of one without dropout, "
        f"{cost.milliseconds:.3g} ms.",
        f"{target} {cost.configuration} needs {ratio_text(cost.epochs)} the epochs.",
        f"{target} it needs {ratio_text(cost.seconds)} the time.",
    ]
