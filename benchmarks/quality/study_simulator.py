"""Studies with a known answer: curves, splits and test scores are simulated, everything else is the code of `thinnet study`.

A test row has the loss

    difficulty[i] + common[s] + w(c) (split[s] + u[s] + row[i]) + v[c, s] + e[c, s, i] + wiggle[c, s, t] + curve[t] - effect(c)

for configuration c, seed s and epoch t. Without dropout w and v are 0. The split is the mean influence of a training set;
training sets of different seeds overlap, and so do validation sets. Row effects and influences are skewed, as losses are. The
same influences act on the validation losses, which halve the configurations, and choose an epoch and a configuration.
"""

from typing import NamedTuple

import numpy as np

from thinnet.study.data.dataset import Dataset, Split
from thinnet.study.data.tasks import Classification
from thinnet.study.design.configuration import Configuration, TrialKey
from thinnet.study.design.halving import current_look
from thinnet.study.design.plan import Plan
from thinnet.study.findings.outcomes import select
from thinnet.study.findings.results import Results, conclude
from thinnet.study.training.scores import Scores
from thinnet.study.training.trial import VIEWS, Trial
from thinnet.study.workers.runner import missing

SEEDS, EPOCHS, DEVELOPMENT, VALIDATION, TEST = 8, 30, 240, 60, 100
PLAN = Plan(epochs=EPOCHS)
BEST = (0.2, 0.3, 0.4, 0.5)
"""The rates with the whole effect. Half of it is left at 0.1 and 0.6, none at 0.7; 0.8 and 0.9 are worse."""
COMMON = 0.01
"""What all configurations of a seed share, in units of the loss."""
EFFECT = {0.0: 0.0, 0.1: 0.5, **dict.fromkeys(BEST, 1.0), 0.6: 0.5, 0.7: 0.0, 0.8: -0.5, 0.9: -1.0}


class Noise(NamedTuple):
    """Standard deviations of a difference, in units of the loss.

    Args:
        seed: of the mean of a seed; a quarter of its variance is due to the split.
        row: of the mean of a test row.
        rest: of a single loss.
        new_rows: whether the rows for training and validation are drawn anew for each study, not only split anew.
    """

    seed: float
    row: float
    rest: float
    new_rows: bool = False


MIXES = {
    "seeds vary most": Noise(0.02, 0.01, 0.02),
    "test rows vary most": Noise(0.002, 0.1, 0.02),
    "both vary": Noise(0.01, 0.1, 0.1),
}


def simulated(rng: np.random.Generator, noise: Noise, effect: float) -> Results:
    """Returns the results of one study whose best rates lower the loss by `effect`."""
    trials, scores = _world(rng, noise, effect)
    losses: dict[TrialKey, float] = {}
    while keys := missing(losses, current_look(PLAN, losses, SEEDS).keys):
        losses |= {key: trials[key].loss for key in keys}
    finished = {key: trials[key] for key in losses}
    selection = select(PLAN, finished, SEEDS)
    tested = {each: scores[each] for each in selection.tested}
    return conclude(DATA, PLAN, selection, tested, None, [])


def _world(
    rng: np.random.Generator, noise: Noise, effect: float
) -> tuple[dict[TrialKey, Trial], dict[Configuration, dict[str, Scores]]]:
    """Draws every trial and its test scores, whether the study asks for them or not."""
    configurations = PLAN.configurations
    rates = np.array([each.rate for each in configurations])
    weight, gain = 2 * rates, effect * np.array([EFFECT[rate] for rate in rates.tolist()])
    rows, difficulty = (rng.exponential(size=DEVELOPMENT + TEST) for _ in range(2))
    rows, difficulty = noise.row * (rows - 1), 0.3 * difficulty
    order = np.array([rng.permutation(DEVELOPMENT) for _ in range(SEEDS)])
    train, validation = order[:, VALIDATION:], order[:, :VALIDATION]

    influence = rng.exponential(size=DEVELOPMENT) - 1
    influence -= 0.0 if noise.new_rows else influence.mean()
    split = influence[train].mean(1) / np.sqrt(1 / train.shape[1] - 1 / DEVELOPMENT)
    own = rng.standard_normal((len(rates), SEEDS)) * (rates > 0)[:, None]
    shared = 0.5 * split + 0.5 * rng.standard_normal(SEEDS)
    level = noise.seed * (weight[:, None] * shared + 0.5**0.5 * own) - gain[:, None]
    level = level + COMMON * rng.standard_normal(SEEDS)

    epochs = np.arange(EPOCHS)
    shape = np.exp(-epochs / 4) + 0.004 * np.maximum(epochs - 15, 0)
    wiggle = 0.3 * noise.seed * rng.standard_normal((*level.shape, EPOCHS))
    held = (difficulty[validation].mean(1) + weight[:, None] * rows[validation].mean(1))[..., None]
    held = held + noise.rest / np.sqrt(2 * VALIDATION) * rng.standard_normal((*level.shape, 1))
    curves = level[..., None] + shape + wiggle
    best = (curves + held).argmin(-1)

    test = difficulty[DEVELOPMENT:] + weight[:, None, None] * rows[DEVELOPMENT:]
    test = test + noise.rest / np.sqrt(2) * rng.standard_normal((*level.shape, TEST))
    fit = np.exp(-epochs / 6).tolist()
    trials, scores = {}, {}
    for place, each in enumerate(configurations):
        for seed in range(SEEDS):
            kept = {"train_loss": fit, "train_error": fit, "validation_error": fit}
            kept["validation_loss"] = (curves + held)[place, seed].tolist()
            trials[TrialKey(each, seed)] = Trial(each, seed, kept, int(best[place, seed]), 1.0)
        ends = {"best": best[place], "last": np.full(SEEDS, EPOCHS - 1)}
        scores[each] = {view: _scores(test[place] + curves[place, range(SEEDS), ends[view]][:, None]) for view in VIEWS}
    return trials, scores


def _scores(losses: np.ndarray) -> Scores:
    return {"loss": losses, "error": (losses > np.log(2)).astype(np.float64)}


def _data() -> Dataset:
    """Returns a dataset of two classes, of which a study needs the numbers of rows and the constant prediction."""
    development, test = (
        Split(np.zeros((rows, 1), np.float32), np.arange(rows) % 2, np.arange(rows)) for rows in (DEVELOPMENT, TEST)
    )
    return Dataset("simulated", "y", Classification(("a", "b")), development, VALIDATION, test, split_seed=0)


DATA = _data()
