"""The results of a study: what the validation sets chose, and what the test set shows about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from thinnet.study.data.dataset import Dataset
from thinnet.study.design.configuration import BASELINE, EARLY_STOPPING, Configuration, Line
from thinnet.study.design.plan import Plan
from thinnet.study.evidence.contrast import Contrast, by_subgroup, contrasts
from thinnet.study.findings.averaging import averages_on_test
from thinnet.study.findings.comparison import Comparison, compare
from thinnet.study.findings.cost import Cost, Ratio, cost, time_ratio
from thinnet.study.findings.outcomes import Outcome, Selection, select
from thinnet.study.training.scores import Scores, naive_scores, scores_on_test
from thinnet.study.training.trial import Trial
from thinnet.study.workers.store import Store


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
        rival_costs: for each rival that was trained, the time of a trial over that of the chosen configuration.
        comparisons: every other line compared with the first, at every rate above 0 where both have all seeds.
        failures: the trials without a result.
        averages: a Contrast of `loss` and one of `error`: the average of sub-networks less a single deterministic pass, both
            with the best weights of the chosen configuration; None for the baseline.
        finalists: for each finalist, the best first, a Contrast of `loss` and one of `error`: the finalist less the baseline.
        subgroups: for each subgroup of the test set what `test` has for the `best` weights.
        cost: of the best finalist beside the baseline; None without finalists.
    """

    outcomes: list[Outcome]
    chosen: Configuration
    seeds: int
    test: dict[str, dict[str, Contrast]]
    naive: dict[str, Contrast] | None
    looks: list[dict]
    rivals: dict[Configuration, dict[str, Contrast]] = field(default_factory=dict)
    rival_costs: dict[Configuration, Ratio] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    failures: list[Trial] = field(default_factory=list)
    averages: dict[str, Contrast] | None = None
    finalists: dict[Configuration, dict[str, Contrast]] = field(default_factory=dict)
    cost: Cost | None = None
    subgroups: dict[str, dict[str, Contrast]] = field(default_factory=dict)

    def at(self, configuration: Configuration) -> Outcome:
        """Returns the outcome of a configuration."""
        return next(each for each in self.outcomes if each.configuration == configuration)

    @property
    def baseline(self) -> Outcome:
        """The outcome without dropout."""
        return self.outcomes[0]

    @property
    def halved(self) -> bool:
        """Whether some configurations were dropped early, and so have fewer seeds."""
        return any(each.seeds < self.seeds for each in self.outcomes)

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
    """Chooses a configuration by the validation sets, and only then uses the test set.

    Args:
        data: the dataset.
        plan: the settings.
        store: holds the trials.
        seeds: the number of whole rounds of the configurations that are still trained.

    Raises:
        StudyError: a trial of the baseline failed.
    """
    selection = select(plan, store.finished(), seeds)
    chosen, rounds = selection.chosen, selection.rounds
    looks = store.look(chosen, seeds)
    store.fetch([trial for each in selection.tested for trial in rounds[each]])
    scores = {each: scores_on_test(data, plan, store.folder, rounds[each]) for each in selection.tested}
    averages = None if chosen == BASELINE else averages_on_test(data, plan, store.folder, rounds[chosen])
    return conclude(data, plan, selection, scores, averages, looks)


def conclude(
    data: Dataset,
    plan: Plan,
    selection: Selection,
    scores: Mapping[Configuration, Mapping[str, Scores]],
    averages: Scores | None,
    looks: list[dict],
) -> Results:
    """Compares the finalists with the baseline, and the choice with everything else, by their test scores.

    Args:
        data: the dataset.
        plan: the settings.
        selection: what the validation sets decided.
        scores: of every tested configuration, for `best` and `last` weights.
        averages: the scores of the average of sub-networks; None for the baseline.
        looks: every different use of the test set so far.
    """
    chosen, base, rounds = selection.chosen, scores[BASELINE], selection.rounds
    ours = scores[chosen]["best"]
    number = sum(not each.configuration.is_rival and each.configuration != BASELINE for each in selection.outcomes)
    finals = {each: (scores[each]["best"], base["best"]) for each in selection.finalists}
    finalists = _against(data, finals, number)
    last = contrasts(data, [(scores[chosen]["last"], base["last"])], number)[0]
    best = finalists[chosen] if chosen in finalists else contrasts(data, [(ours, base["best"])])[0]
    rivals = {each: (ours, scores[each]["best"]) for each in selection.rivals}
    if EARLY_STOPPING in plan.against:
        rivals[Configuration(EARLY_STOPPING, 0.0)] = (scores[chosen]["last"], base["best"])
    naive = naive_scores(data)
    if naive is not None:
        naive = {name: values.repeat(selection.seeds, 0) for name, values in naive.items()}
    return Results(
        outcomes=selection.outcomes,
        failures=selection.failures,
        chosen=chosen,
        seeds=selection.seeds,
        test={"best": best, "last": last},
        naive=None if naive is None else contrasts(data, [(ours, naive)])[0],
        looks=looks,
        finalists=finalists,
        rivals=_against(data, rivals, number),
        rival_costs={each: time_ratio(rounds[each], rounds[chosen]) for each in selection.rivals},
        comparisons=compare(data.task, selection.pairs, rounds, scores),
        cost=next((cost(plan, rounds[each], rounds[BASELINE], len(data.train)) for each in finalists), None),
        averages=None if averages is None else contrasts(data, [(averages, ours)])[0],
        subgroups=by_subgroup(data, ours, base["best"]),
    )


def _against(
    data: Dataset, pairs: dict[Configuration, tuple[Scores, Scores]], chosen_from: int
) -> dict[Configuration, dict[str, Contrast]]:
    return dict(zip(pairs, contrasts(data, list(pairs.values()), chosen_from), strict=True))
