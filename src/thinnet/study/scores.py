"""The test rows, scored with the weights of an arm."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from thinnet.study.cases import Data
from thinnet.study.network import seeded_network
from thinnet.study.plan import Plan
from thinnet.study.trial import VIEWS, Trial, score
from thinnet.study.weights import load_weights, weights_path

Scores = Mapping[str, np.ndarray]
"""`loss` and `error` of every case at every seed, both (seeds, cases)."""


def scores_on_test(data: Data, plan: Plan, folder: Path, trials: list[Trial]) -> dict[str, Scores]:
    """Scores every test row with the weights of one arm.

    Args:
        data: the data.
        plan: the settings.
        folder: where the weights are.
        trials: one a seed.

    Returns:
        For `best` and `last`, the losses and the errors, both (seeds, cases).
    """
    scores: dict[str, Scores] = {}
    x, y = torch.from_numpy(data.test.x), torch.from_numpy(data.test.y)
    states = [load_weights(weights_path(folder, trial.key)) for trial in trials]
    for view in VIEWS:
        rows = []
        for trial, state in zip(trials, states, strict=True):
            network = seeded_network(data, plan, trial.rate, seed=0)
            network.load_state_dict(state[view])
            rows.append(score(network, data.task, x, y))
        losses, errors = zip(*rows, strict=True)
        scores[view] = {"loss": torch.stack(losses).numpy(), "error": torch.stack(errors).numpy()}
    return scores
