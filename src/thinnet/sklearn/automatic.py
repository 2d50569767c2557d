"""`dropout="auto"`: the rate with the lowest mean validation loss, by the rules of a study."""

from collections.abc import Callable
from dataclasses import replace

from sklearn.utils.parallel import Parallel, delayed

from thinnet.report.progress import Progress
from thinnet.sklearn.member import Member, Recipe, Seeds
from thinnet.sklearn.rates import Rates
from thinnet.sklearn.rows import Rows
from thinnet.study.design.configuration import TrialKey
from thinnet.study.design.halving import FIRST_SEEDS, current_look, mean_loss, trials_in_all
from thinnet.study.design.plan import Plan

RATES = (0.1, 0.2, 0.3, 0.5, 0.7)
"""The rates that are compared with each other and with 0."""

TRIALS = trials_in_all(Plan(rates=RATES), FIRST_SEEDS)
"""The fits of a search."""


def choose_rate(
    recipe: Recipe, rows: Rows, held_out: int, stratify: bool, root: int, n_jobs: int | None, progress: Progress
) -> dict[float, float]:
    """Returns the mean validation loss of every rate.

    As in a study, every seed divides the rows anew, the rates of a seed share weights, batches and random bits, and a trial
    counts with its lowest validation loss.

    Args:
        recipe: of the estimator; its rates are replaced.
        rows: all rows for training.
        held_out: how many of them are for validation.
        stratify: whether the parts keep the shares of the classes.
        root: the seed of the search.
        n_jobs: the processes.
        progress: counts the epochs of the trials.
    """
    plan, losses = Plan(rates=RATES), {}
    trial: Callable[[TrialKey], float] = _Search(recipe, rows, held_out, stratify, root)
    while missing := [key for key in current_look(plan, losses, FIRST_SEEDS).keys if key not in losses]:
        found = Parallel(n_jobs=n_jobs, return_as="generator")(delayed(trial)(key) for key in missing)
        for key, loss in zip(missing, found, strict=True):
            losses[key] = loss
            progress.advance(recipe.epochs, f"{key.configuration.label}, loss {loss:.4g}")
    return {each.rate: mean_loss(each, losses, FIRST_SEEDS) for each in plan.configurations}


class _Search:
    """Trains one trial; a class, so that a process can load it."""

    def __init__(self, recipe: Recipe, rows: Rows, held_out: int, stratify: bool, root: int) -> None:
        self.recipe, self.rows, self.held_out, self.stratify, self.root = recipe, rows, held_out, stratify, root

    def __call__(self, key: TrialKey) -> float:
        rates = Rates((key.configuration.rate,) * len(self.recipe.hidden), self.recipe.rates.input)
        recipe = replace(self.recipe, rates=rates)
        seeds = Seeds.of(self.root, key.seed)
        train, validation = self.rows.split(self.held_out, seeds.batches, self.stratify)
        member = Member(recipe, self.rows.x.shape[1], seeds).train(recipe, train, validation)
        return min(member.validation_losses)
