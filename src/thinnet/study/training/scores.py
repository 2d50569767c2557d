"""Scores of the test set with the weights of a configuration."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thinnet.study.data.dataset import Dataset
from thinnet.study.design.plan import Plan
from thinnet.study.training.network import seeded_network
from thinnet.study.training.trial import VIEWS, Trial, score
from thinnet.study.training.weights import load_weights, weights_path

Scores = Mapping[str, np.ndarray]
"""`loss` and `error` of every test row for every seed, both (seeds, rows)."""


def trained(data: Dataset, plan: Plan, folder: Path, trials: list[Trial], view: str) -> Iterator[nn.Module]:
    """Yields the network of each trial with its saved weights; `view` is `best` or `last`."""
    for trial in trials:
        network = seeded_network(data, plan, trial.configuration, seed=0)
        network.load_state_dict(load_weights(weights_path(folder, trial.key))[view])
        yield network


def scores_on_test(data: Dataset, plan: Plan, folder: Path, trials: list[Trial]) -> dict[str, Scores]:
    """Scores every test row with the `best` and the `last` weights of the trials of one configuration."""
    scores: dict[str, Scores] = {}
    x, y = torch.from_numpy(data.test.x), torch.from_numpy(data.test.y)
    for view in VIEWS:
        rows = [score(network, data.task, x, y, data.evaluation_rows) for network in trained(data, plan, folder, trials, view)]
        losses, errors = zip(*rows, strict=True)
        scores[view] = {"loss": torch.stack(losses).numpy(), "error": torch.stack(errors).numpy()}
    return scores


def naive_scores(data: Dataset) -> Scores | None:
    """Scores every test row by the one output that suits the training targets best; both arrays are (1, rows)."""
    y, output = torch.from_numpy(data.test.y), data.task.constant(torch.from_numpy(data.train.y))
    if output is None:
        return None
    output = output.expand(*y.shape, -1)
    scores = {"loss": data.task.loss(output, y), "error": data.task.error(output, y)}
    return {name: values[None].double().numpy() for name, values in scores.items()}
