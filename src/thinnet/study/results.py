"""Summarise the trials over seeds, choose a configuration on the validation sets, and evaluate it once on the test set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np

from thinnet.study.averaging import averages_on_test
from thinnet.study.comparison import Comparison, comparable, compare
from thinnet.study.configuration import BASELINE, EARLY_STOPPING, Configuration, Line, TrialKey
from thinnet.study.dataset import Dataset
from thinnet.study.plan import FEWEST_SEEDS, Plan
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
        difference: of the validation loss less that of the baseline, of the same seeds; None with too few, or for the baseline.
    """

    train_loss: float
    train_error: float
    validation_loss: float
    validation_error: float
    gap: float
    interval: Interval | None
    difference: Interval | None


@dataclass(frozen=True)
class Outcome:
    """One configuration over its seeds.

    Args:
        configuration: what was trained.
        seeds: the number of seeds; halving gives fewer to the worse ones.
        views: a Summary for `best` and one for `last`.
        epochs_to_best: the median number of epochs until the lowest validation loss.
        seconds: the median training time of a trial.
        curves: for each of CURVES three rows with a number an epoch: the mean, the lowest and the highest over seeds.
    """

    configuration: Configuration
    seeds: int
    views: dict[str, Summary]
    epochs_to_best: float
    seconds: float
    curves: dict[str, np.ndarray]

    @property
    def rate(self) -> float:
        """The rate."""
        return self.configuration.rate


@dataclass(frozen=True)
class Results:
    """Everything that the verdict rests on.

    Args:
        outcomes: of every configuration, in the order of the plan; the first is the baseline.
        chosen: of the configurations of dropout with all seeds, and the baseline, that with the lowest mean validation loss at
            the best epochs.
        seeds: the number of seeds of the baseline and of every finalist.
        test: for `best` and `last` weights, a Contrast of `loss` and one of `error`: the chosen one less the baseline.
        naive: a Contrast of `loss` and one of `error`: the chosen configuration, with its best weights, less one constant
            prediction; None for a loss of the user.
        looks: every different use of the test set so far.
        rivals: for each rival a Contrast of `loss` and one of `error`: the chosen configuration less the rival.
        comparisons: every other line compared with the first, at every rate above 0 where both have all seeds.
        averages: a Contrast of `loss` and one of `error`: the average of sub-networks less a single deterministic pass, both
            with the best weights of the chosen configuration; None for the baseline.
    """

    outcomes: list[Outcome]
    chosen: Configuration
    seeds: int
    test: dict[str, dict[str, Contrast]]
    naive: dict[str, Contrast] | None
    looks: list[dict]
    rivals: dict[Configuration, dict[str, Contrast]] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    averages: dict[str, Contrast] | None = None

    def at(self, configuration: Configuration) -> Outcome:
        """Return the outcome of a configuration."""
        return next(each for each in self.outcomes if each.configuration == configuration)

    @property
    def baseline(self) -> Outcome:
        """The outcome without dropout."""
        return self.outcomes[0]

    @property
    def lines(self) -> dict[Line, list[Outcome]]:
        """The outcomes of every line by rate, ascending; each begins with the baseline."""
        lines: dict[Line, list[Outcome]] = {}
        for each in self.outcomes[1:]:
            if not each.configuration.is_rival:
                lines.setdefault(each.configuration.line, [self.baseline]).append(each)
        return lines

    @property
    def compared(self) -> Configuration:
        """The best configuration of dropout with all seeds; the baseline if there is none."""
        above = [each for each in self.outcomes[1:] if not each.configuration.is_rival and each.seeds == self.seeds]
        return min(above or [self.baseline], key=lambda each: each.views["best"].validation_loss).configuration

    @property
    def rates(self) -> list[Outcome]:
        """The line of the compared configuration, with the baseline."""
        return self.lines.get(self.compared.line, [self.baseline])


def summarize(data: Dataset, plan: Plan, store: Store, seeds: int) -> Results:
    """Summarise the trials, choose the configuration, and only then use the test set.

    Args:
        data: the dataset.
        plan: the settings.
        store: holds the trials.
        seeds: the number of whole rounds of the configurations that are still trained.
    """
    trials = store.finished()
    rounds = {each: trials_of(each, trials, seeds) for each in plan.configurations}
    rounds = {each: found for each, found in rounds.items() if found}
    outcomes = [outcome(each, found, rounds[BASELINE]) for each, found in rounds.items()]
    chosen = choose(outcomes, seeds)
    rivals = best_rivals(outcomes, seeds)
    looks = store.look(chosen, seeds)
    pairs = comparable(plan, {each.configuration for each in outcomes if each.seeds == seeds})
    wanted = {BASELINE, chosen, *rivals, *(each for pair in pairs for each in pair)}
    scores = {each: scores_on_test(data, plan, store.folder, rounds[each]) for each in wanted}
    test = {view: contrasts(data, scores[chosen][view], scores[BASELINE][view]) for view in VIEWS}
    beside = {each: contrasts(data, scores[chosen]["best"], scores[each]["best"]) for each in rivals}
    if EARLY_STOPPING in plan.against:
        stopped = Configuration(EARLY_STOPPING, 0.0)
        beside[stopped] = contrasts(data, scores[chosen]["last"], scores[BASELINE]["best"])
    naive, averages = naive_scores(data), None
    if chosen != BASELINE:
        averages = contrasts(data, averages_on_test(data, plan, store.folder, rounds[chosen]), scores[chosen]["best"])
    if naive is not None:
        naive = contrasts(data, scores[chosen]["best"], {name: values.repeat(seeds, 0) for name, values in naive.items()})
    comparisons = compare(data.task, pairs, rounds, scores)
    return Results(outcomes, chosen, seeds, test, naive, looks, beside, comparisons, averages)


def trials_of(configuration: Configuration, trials: Mapping[TrialKey, Trial], seeds: int) -> list[Trial]:
    """Return the trials of a configuration for the first seeds, up to one that is missing."""
    keys = takewhile(lambda key: key in trials, (TrialKey(configuration, seed) for seed in range(seeds)))
    return [trials[key] for key in keys]


def choose(outcomes: Iterable[Outcome], seeds: int) -> Configuration:
    """Return the configuration with the lowest mean validation loss at the best epochs; of equals the first.

    Args:
        outcomes: of all configurations.
        seeds: how many seeds a configuration must have; rivals are left out.
    """
    left = [each for each in outcomes if each.seeds == seeds and not each.configuration.is_rival]
    return min(left, key=lambda each: each.views["best"].validation_loss).configuration


def best_rivals(outcomes: Iterable[Outcome], seeds: int) -> list[Configuration]:
    """Return for each rival its strength with the lowest mean validation loss."""
    found: dict[str, Outcome] = {}
    for each in outcomes:
        if each.configuration.is_rival and each.seeds == seeds:
            best = found.setdefault(each.configuration.method, each)
            if each.views["best"].validation_loss < best.views["best"].validation_loss:
                found[each.configuration.method] = each
    return [each.configuration for each in found.values()]


def outcome(configuration: Configuration, trials: list[Trial], baseline: list[Trial]) -> Outcome:
    """Average one configuration over its seeds; `baseline` are the trials without dropout, in the same order of seeds."""
    stacks = {name: np.array([trial.curves[name] for trial in trials]) for name in CURVES}
    return Outcome(
        configuration=configuration,
        seeds=len(trials),
        views={view: _summary(view, configuration, trials, baseline[: len(trials)]) for view in VIEWS},
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


def _summary(view: str, configuration: Configuration, trials: list[Trial], without: list[Trial]) -> Summary:
    means = {name: float(np.mean([trial.at(view)[name] for trial in trials])) for name in CURVES}
    losses = np.array([trial.at(view)["validation_loss"] for trial in trials])
    base = np.array([trial.at(view)["validation_loss"] for trial in without])
    enough = len(trials) >= FEWEST_SEEDS
    return Summary(
        **means,
        gap=means["validation_loss"] - means["train_loss"],
        interval=seed_interval(losses) if enough else None,
        difference=seed_interval(losses - base) if enough and configuration != BASELINE else None,
    )
