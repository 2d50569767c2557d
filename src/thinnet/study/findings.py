"""What the trials say: arms summed up over seeds, the rate chosen on the hold-out, and one look at the test rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from thinnet.study.averaging import averages_on_test
from thinnet.study.cases import Data
from thinnet.study.comparison import Comparison, compare
from thinnet.study.plan import FEWEST_SEEDS, Key, Plan
from thinnet.study.scores import Scores, scores_on_test
from thinnet.study.statistics import Interval, crossed_interval, seed_interval
from thinnet.study.store import Store
from thinnet.study.trial import CURVES, VIEWS, Trial


@dataclass(frozen=True)
class Glance:
    """One arm at one moment, the best or the last epoch, averaged over seeds.

    Args:
        train_loss: on the rows trained on, in eval mode.
        train_error: the same for the error.
        validation_loss: on the hold-out.
        validation_error: the same for the error.
        gap: hold-out loss less training loss.
        interval: of the hold-out loss over seeds; none with too few.
        difference: of the hold-out loss less that of rate 0 with the same seeds; none with too few, or at rate 0.
    """

    train_loss: float
    train_error: float
    validation_loss: float
    validation_error: float
    gap: float
    interval: Interval | None
    difference: Interval | None


@dataclass(frozen=True)
class Arm:
    """One rate over all seeds.

    Args:
        rate: the rate.
        views: a Glance for `best` and one for `last`.
        epochs_to_best: the median number of epochs after which the hold-out loss was lowest.
        seconds: training time of one trial, the median.
        curves: for each of CURVES, three rows of a number an epoch: the mean, the lowest and the highest over seeds.
    """

    rate: float
    views: dict[str, Glance]
    epochs_to_best: float
    seconds: float
    curves: dict[str, np.ndarray]


@dataclass(frozen=True)
class Contrast:
    """One quantity on the test rows, with the chosen rate and without dropout.

    Args:
        chosen: at the chosen rate.
        without: at rate 0.
        interval: of `chosen` less `without`, seeds and rows both counted as random; none with too few seeds.
    """

    chosen: float
    without: float
    interval: Interval | None


@dataclass(frozen=True)
class Findings:
    """Everything a verdict rests on.

    Args:
        arms: those of the first method, one a rate, ascending; the first is rate 0.
        chosen: the rate with the lowest mean hold-out loss at the best epochs.
        seeds: how many each arm has.
        test: for `best` and `last` weights, a Contrast for `loss` and one for `error`.
        looks: every different look at the test rows so far.
        others: the arms of every other method, like `arms`; they share rate 0.
        comparisons: every other method beside the first, one a rate above 0.
        averages: a Contrast for `loss` and one for `error`, of the average of thinned networks (`chosen`) and one pass of the
            whole network (`without`), both with the best weights at the chosen rate; none at rate 0.
    """

    arms: list[Arm]
    chosen: float
    seeds: int
    test: dict[str, dict[str, Contrast]]
    looks: list[dict]
    others: dict[str, list[Arm]] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    averages: dict[str, Contrast] | None = None

    def arm(self, rate: float) -> Arm:
        """Finds an arm.

        Args:
            rate: its rate.

        Returns:
            The arm.
        """
        return next(arm for arm in self.arms if arm.rate == rate)


def find(data: Data, plan: Plan, store: Store, seeds: int) -> Findings:
    """Sums up whole rounds, chooses the rate, and only then looks at the test rows.

    Args:
        data: the data.
        plan: the settings.
        store: where the trials are.
        seeds: how many whole rounds there are.

    Returns:
        The findings.
    """
    trials = store.finished()
    rounds = {arm: [trials[Key(*arm, seed)] for seed in range(seeds)] for arm in plan.arms}
    first, *others = plan.methods
    arms = summed_up_by_rate(plan, rounds, first)
    chosen = choose(arms)
    looks = store.look(chosen, seeds)
    wanted = rounds if others else {(first, 0.0), (first, chosen)}
    scores = {arm: scores_on_test(data, plan, store.folder, rounds[arm]) for arm in wanted}
    test = {view: contrasts(data, scores[first, chosen][view], scores[first, 0.0][view]) for view in VIEWS}
    beside = {method: summed_up_by_rate(plan, rounds, method) for method in others}
    averages = None
    if chosen:
        drawn = averages_on_test(data, plan, store.folder, rounds[first, chosen])
        averages = contrasts(data, drawn, scores[first, chosen]["best"])
    return Findings(arms, chosen, seeds, test, looks, beside, compare(data.task, plan, rounds, scores), averages)


def summed_up_by_rate(plan: Plan, rounds: Mapping[tuple[str, float], list[Trial]], method: str) -> list[Arm]:
    """Averages every rate of one method over its seeds.

    Args:
        plan: the settings.
        rounds: the trials of every arm, in the order of seeds.
        method: which one.

    Returns:
        The arms, ascending in rate; the first is rate 0, which all methods share.
    """
    without = rounds[plan.methods[0], 0.0]
    return [summed_up(rate, rounds[method, rate] if rate else without, without) for rate in plan.rates]


def choose(arms: Iterable[Arm]) -> float:
    """Chooses the rate; of equals the smallest.

    Args:
        arms: ascending in rate.

    Returns:
        The rate with the lowest mean hold-out loss, each trial at its best epoch.
    """
    return min(arms, key=lambda arm: arm.views["best"].validation_loss).rate


def summed_up(rate: float, trials: list[Trial], without: list[Trial]) -> Arm:
    """Averages one rate over its seeds.

    Args:
        rate: the rate.
        trials: one a seed.
        without: those of rate 0, in the same order of seeds.

    Returns:
        The arm.
    """
    stacks = {name: np.array([trial.curves[name] for trial in trials]) for name in CURVES}
    return Arm(
        rate=rate,
        views={view: glance(view, trials, without) for view in VIEWS},
        epochs_to_best=float(np.median([trial.best + 1 for trial in trials])),
        seconds=float(np.median([trial.seconds for trial in trials])),
        curves={name: np.stack([stack.mean(0), stack.min(0), stack.max(0)]) for name, stack in stacks.items()},
    )


def glance(view: str, trials: list[Trial], without: list[Trial]) -> Glance:
    """Averages one rate at one moment.

    Args:
        view: `best` or `last`.
        trials: one a seed.
        without: those of rate 0, in the same order of seeds.

    Returns:
        The averages.
    """
    means = {name: float(np.mean([trial.at(view)[name] for trial in trials])) for name in CURVES}
    losses = np.array([trial.at(view)["validation_loss"] for trial in trials])
    base = np.array([trial.at(view)["validation_loss"] for trial in without])
    enough = len(trials) >= FEWEST_SEEDS
    return Glance(
        **means,
        gap=means["validation_loss"] - means["train_loss"],
        interval=seed_interval(losses) if enough else None,
        difference=seed_interval(losses - base) if enough and trials[0].rate > 0 else None,
    )


def contrasts(data: Data, chosen: Scores, without: Scores) -> dict[str, Contrast]:
    """Compares two arms row by row and seed by seed.

    Args:
        data: says how errors of rows become one error.
        chosen: losses and errors at the chosen rate, (seeds, cases).
        without: the same at rate 0.

    Returns:
        A Contrast for `loss` and one for `error`.
    """
    differences = {
        "loss": chosen["loss"] - without["loss"],
        "error": data.task.error_difference(chosen["error"], without["error"]),
    }
    totals = {"loss": float, "error": data.task.total}
    return {
        name: Contrast(
            totals[name](float(chosen[name].mean())),
            totals[name](float(without[name].mean())),
            crossed_interval(difference) if len(difference) >= FEWEST_SEEDS else None,
        )
        for name, difference in differences.items()
    }
