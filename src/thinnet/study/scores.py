"""The test rows, scored with the weights of an arm."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thinnet.study.cases import Data
from thinnet.study.network import seeded_network
from thinnet.study.plan import Plan
from thinnet.study.trial import VIEWS, Trial, score
from thinnet.study.weights import load_weights, weights_path

Scores = Mapping[str, np.ndarray]
"""`loss` and `error` of every case at every seed, both (seeds, cases)."""


def trained(data: Data, plan: Plan, folder: Path, trials: list[Trial], view: str) -> Iterator[nn.Module]:
    """Gives the network of each trial with its weights from the disk.

    Args:
        data: the data.
        plan: the settings.
        folder: where the weights are.
        trials: one a seed.
        view: `best` or `last`.

    Returns:
        The networks, in the order of the trials.
    """
    for trial in trials:
        network = seeded_network(data, plan, trial.rate, seed=0)
        network.load_state_dict(load_weights(weights_path(folder, trial.key))[view])
        yield network


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
    for view in VIEWS:
        rows = [score(network, data.task, x, y) for network in trained(data, plan, folder, trials, view)]
        losses, errors = zip(*rows, strict=True)
        scores[view] = {"loss": torch.stack(losses).numpy(), "error": torch.stack(errors).numpy()}
    return scores
