"""What the validation sets decide: every configuration averaged over its seeds, the choice and the finalists."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from thinnet.study.design.configuration import BASELINE, Configuration, TrialKey
from thinnet.study.design.halving import FINALISTS
from thinnet.study.design.plan import COMMAND, FEWEST_SEEDS, Plan, StudyError
from thinnet.study.evidence.statistics import Interval, seed_interval
from thinnet.study.findings.comparison import Rounds, comparable
from thinnet.study.training.trial import CURVES, VIEWS, Trial

BASELINE_ADVICE = "Mend the cause and add --retry-failed, or change the study and choose a new --out"


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
class Selection:
    """What the validation sets decide, before the test set is used.

    Args:
        rounds: the trials of every configuration.
        outcomes: of every configuration, in the order of the plan; the first is the baseline.
        seeds: the number of seeds of the baseline and of every finalist.
        chosen: the configuration with the lowest mean validation loss.
        finalists: up to three configurations of dropout with all seeds, the best first.
        rivals: the best strength of each rival.
        pairs: the configurations of other lines, each with that of the first line at the same rate.
        failures: the trials without a result.
    """

    rounds: Rounds
    outcomes: list[Outcome]
    seeds: int
    chosen: Configuration
    finalists: list[Configuration]
    rivals: list[Configuration]
    pairs: list[tuple[Configuration, Configuration]]
    failures: list[Trial]

    @property
    def tested(self) -> list[Configuration]:
        """Every configuration that needs test scores."""
        paired = (each for pair in self.pairs for each in pair)
        return list(dict.fromkeys((BASELINE, *self.finalists, *self.rivals, *paired)))


def select(plan: Plan, trials: Mapping[TrialKey, Trial], seeds: int) -> Selection:
    """Averages the trials, and chooses by the validation loss.

    Args:
        plan: the settings.
        trials: the finished trials.
        seeds: the number of whole rounds of the configurations that are still trained.

    Raises:
        StudyError: a trial of the baseline failed.
    """
    failures = [trial for trial in trials.values() if trial.failed]
    refuse_failed_baseline(failures)
    rounds = {each: trials_of(each, trials, seeds) for each in plan.configurations}
    rounds = {each: found for each, found in rounds.items() if found}
    outcomes = [outcome(each, found, rounds[BASELINE]) for each, found in rounds.items()]
    pairs = comparable(plan, {each.configuration for each in outcomes if each.seeds == seeds})
    finalists = best_finalists(outcomes, seeds)
    rivals = best_rivals(outcomes, seeds)
    return Selection(rounds, outcomes, seeds, choose(outcomes, seeds), finalists, rivals, pairs, failures)


def trials_of(configuration: Configuration, trials: Mapping[TrialKey, Trial], seeds: int) -> list[Trial]:
    """Returns the trials of a configuration for the first seeds, up to one that is missing."""
    keys = (TrialKey(configuration, seed) for seed in range(seeds))
    return [trials[key] for key in takewhile(lambda key: key in trials and not trials[key].failed, keys)]


def refuse_failed_baseline(failures: Iterable[Trial]) -> None:
    """Refuses a study without the configuration that all others are compared with.

    Raises:
        StudyError: a trial of the baseline failed.
    """
    for trial in failures:
        if trial.configuration == BASELINE:
            reason, advice = trial.failed.rstrip("."), trial.next_step or BASELINE_ADVICE
            got = f"an error with seed {trial.seed} ({reason.removesuffix(f'. {trial.next_step}')})"
            raise StudyError(COMMAND, "training without dropout must succeed", got, f"{advice}.")


def choose(outcomes: Iterable[Outcome], seeds: int) -> Configuration:
    """Returns the configuration with the lowest mean validation loss at the best epochs; of equals the first.

    Args:
        outcomes: of all configurations.
        seeds: how many seeds a configuration must have; rivals are left out.
    """
    left = [each for each in outcomes if each.seeds == seeds and not each.configuration.is_rival]
    return min(left, key=lambda each: each.views["best"].validation_loss).configuration


def best_rivals(outcomes: Iterable[Outcome], seeds: int) -> list[Configuration]:
    """Returns for each rival its strength with the lowest mean validation loss."""
    found: dict[str, Outcome] = {}
    for each in outcomes:
        if each.configuration.is_rival and each.seeds == seeds:
            best = found.setdefault(each.configuration.method, each)
            if each.views["best"].validation_loss < best.views["best"].validation_loss:
                found[each.configuration.method] = each
    return [each.configuration for each in found.values()]


def outcome(configuration: Configuration, trials: list[Trial], baseline: list[Trial]) -> Outcome:
    """Averages one configuration over its seeds; `baseline` are the trials without dropout, in the same order of seeds."""
    stacks = {name: np.array([trial.curves[name] for trial in trials]) for name in CURVES}
    return Outcome(
        configuration=configuration,
        seeds=len(trials),
        views={view: _summary(view, configuration, trials, baseline[: len(trials)]) for view in VIEWS},
        epochs_to_best=float(np.median([trial.best + 1 for trial in trials])),
        seconds=float(np.median([trial.seconds for trial in trials])),
        curves={name: np.stack([stack.mean(0), stack.min(0), stack.max(0)]) for name, stack in stacks.items()},
    )


def best_finalists(outcomes: Iterable[Outcome], seeds: int) -> list[Configuration]:
    """Returns up to three configurations of dropout with all seeds, by rising validation loss."""
    left = [each for each in outcomes if each.seeds == seeds and not each.configuration.is_rival]
    ranked = sorted(left, key=lambda each: each.views["best"].validation_loss)
    return [each.configuration for each in ranked if each.configuration != BASELINE][:FINALISTS]


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
