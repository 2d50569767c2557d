"""Summarise the trials over seeds, choose the rate on the validation set, and evaluate it once on the test set."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from thinnet.study.averaging import averages_on_test
from thinnet.study.comparison import Comparison, Rounds, compare
from thinnet.study.dataset import Dataset
from thinnet.study.plan import FEWEST_SEEDS, Configuration, Plan, TrialKey
from thinnet.study.scores import Scores, naive_scores, scores_on_test
from thinnet.study.statistics import Contrast, Interval, crossed_interval, seed_interval
from thinnet.study.store import Store
from thinnet.study.trial import CURVES, VIEWS, Trial


@dataclass(frozen=True)
class Summary:
    """One configuration at its best or its last epoch, averaged over seeds.

    Args:
        train_loss: the loss on the training set, in eval mode.
        train_error: the error on the training set.
        validation_loss: the loss on the validation set.
        validation_error: the error on the validation set.
        gap: the validation loss less the training loss.
        interval: of the validation loss over seeds; None with too few.
        difference: of the validation loss less that of rate 0 with the same seeds; None with too few, or at rate 0.
    """

    train_loss: float
    train_error: float
    validation_loss: float
    validation_error: float
    gap: float
    interval: Interval | None
    difference: Interval | None


@dataclass(frozen=True)
class RateResult:
    """One method at one rate over all seeds.

    Args:
        rate: the rate.
        views: a Summary for `best` and one for `last`.
        epochs_to_best: the median number of epochs until the lowest validation loss.
        seconds: the median training time of a trial.
        curves: for each of CURVES three rows with a number an epoch: the mean, the lowest and the highest over seeds.
    """

    rate: float
    views: dict[str, Summary]
    epochs_to_best: float
    seconds: float
    curves: dict[str, np.ndarray]


@dataclass(frozen=True)
class Results:
    """Everything that the verdict rests on.

    Args:
        rates: the results of the first method, ascending in rate; the first is rate 0.
        chosen: the rate with the lowest mean validation loss at the best epochs.
        seeds: the number of seeds of each configuration.
        test: for `best` and `last` weights, a Contrast of `loss` and one of `error`: the chosen rate less rate 0.
        naive: a Contrast of `loss` and one of `error`: the chosen rate, with its best weights, less one constant prediction;
            None for a loss of the user.
        looks: every different use of the test set so far.
        others: the results of every other method, like `rates`; they share rate 0.
        comparisons: every other method compared with the first, at every rate above 0.
        averages: a Contrast of `loss` and one of `error`: the average of sub-networks less a single deterministic pass, both
            with the best weights at the chosen rate; None at rate 0.
    """

    rates: list[RateResult]
    chosen: float
    seeds: int
    test: dict[str, dict[str, Contrast]]
    naive: dict[str, Contrast] | None
    looks: list[dict]
    others: dict[str, list[RateResult]] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    averages: dict[str, Contrast] | None = None

    def at(self, rate: float) -> RateResult:
        """Return the result of the first method at a rate."""
        return next(each for each in self.rates if each.rate == rate)

    def compared(self, method: str) -> list[Comparison]:
        """Return the comparisons of one method with the first, one a rate."""
        return [each for each in self.comparisons if each.method == method]

    @property
    def compared_rate(self) -> float:
        """The rate above 0 with the lowest validation loss of the first method; 0 where there is none."""
        above = [each for each in self.rates if each.rate > 0] or self.rates
        return min(above, key=lambda each: each.views["best"].validation_loss).rate


def summarize(data: Dataset, plan: Plan, store: Store, seeds: int) -> Results:
    """Summarise `seeds` whole rounds, choose the rate, and only then use the test set."""
    trials = store.finished()
    rounds = {each: [trials[TrialKey(*each, seed)] for seed in range(seeds)] for each in plan.configurations}
    first, *others = plan.methods
    rates = _by_rate(plan, rounds, first)
    chosen = choose(rates)
    looks = store.look(chosen, seeds)
    ours, base = Configuration(first, chosen), Configuration(first, 0.0)
    wanted = rounds if others else {base, ours}
    scores = {each: scores_on_test(data, plan, store.folder, rounds[each]) for each in wanted}
    test = {view: contrasts(data, scores[ours][view], scores[base][view]) for view in VIEWS}
    naive = naive_scores(data)
    averages = None
    if chosen:
        averages = contrasts(data, averages_on_test(data, plan, store.folder, rounds[ours]), scores[ours]["best"])
    by_method = {method: _by_rate(plan, rounds, method) for method in others}
    beside = None
    if naive is not None:
        beside = contrasts(data, scores[ours]["best"], {name: values.repeat(seeds, 0) for name, values in naive.items()})
    return Results(rates, chosen, seeds, test, beside, looks, by_method, compare(data.task, plan, rounds, scores), averages)


def choose(rates: Iterable[RateResult]) -> float:
    """Return the rate with the lowest mean validation loss at the best epochs; of equals the smallest."""
    return min(rates, key=lambda each: each.views["best"].validation_loss).rate


def rate_result(rate: float, trials: list[Trial], without: list[Trial]) -> RateResult:
    """Average one rate over its seeds; `without` are the trials of rate 0 in the same order of seeds."""
    stacks = {name: np.array([trial.curves[name] for trial in trials]) for name in CURVES}
    return RateResult(
        rate=rate,
        views={view: _summary(view, trials, without) for view in VIEWS},
        epochs_to_best=float(np.median([trial.best + 1 for trial in trials])),
        seconds=float(np.median([trial.seconds for trial in trials])),
        curves={name: np.stack([stack.mean(0), stack.min(0), stack.max(0)]) for name, stack in stacks.items()},
    )


def contrasts(data: Dataset, chosen: Scores, without: Scores) -> dict[str, Contrast]:
    """Return the contrast of `loss` and that of `error`, paired by row and seed."""
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


def _by_rate(plan: Plan, rounds: Rounds, method: str) -> list[RateResult]:
    """Average every rate of one method; all methods share rate 0."""
    without = rounds[Configuration(plan.methods[0], 0.0)]
    return [rate_result(rate, rounds[Configuration(method, rate)] if rate else without, without) for rate in plan.rates]


def _summary(view: str, trials: list[Trial], without: list[Trial]) -> Summary:
    means = {name: float(np.mean([trial.at(view)[name] for trial in trials])) for name in CURVES}
    losses = np.array([trial.at(view)["validation_loss"] for trial in trials])
    base = np.array([trial.at(view)["validation_loss"] for trial in without])
    enough = len(trials) >= FEWEST_SEEDS
    return Summary(
        **means,
        gap=means["validation_loss"] - means["train_loss"],
        interval=seed_interval(losses) if enough else None,
        difference=seed_interval(losses - base) if enough and trials[0].rate > 0 else None,
    )
