"""Does the confidence of a network fit? For classes the calibration error, for numbers the coverage of intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from thinnet.inference.calibration.scores import LEVELS, Statistic, gap, off_level
from thinnet.study.data.dataset import Dataset, Split
from thinnet.study.data.tasks import Classification, Regression
from thinnet.study.design.configuration import Configuration
from thinnet.study.design.plan import Plan
from thinnet.study.training.scores import trained
from thinnet.study.training.trial import Trial

BINS, FEWEST_IN_BIN = 15, 10
"""The bins of the calibration error, of equal width; bins with fewer predictions are not drawn."""


@dataclass(frozen=True)
class Reliability:
    """The confidence of one configuration on the test set, with the best weights of its seeds.

    Args:
        configuration: what was trained.
        stated: the mean confidence of a bin, or the level of an interval, (K,).
        observed: the share that was right, or that the interval covered, (K,).
        errors: for each seed the mean distance of the two: the expected calibration error (ECE) for classes.
    """

    configuration: Configuration
    stated: np.ndarray
    observed: np.ndarray
    errors: np.ndarray


def reliability(data: Dataset, plan: Plan, folder: Path, trials: Sequence[Trial]) -> Reliability | None:
    """Measures the confidence of the trials of one configuration on the test set; None for a loss of the user."""
    networks = list(trained(data, plan, folder, list(trials), "best"))
    if isinstance(data.task, Classification):
        found = _of_classes([_outputs(network, data.test, data) for network in networks], torch.from_numpy(data.test.y))
    elif isinstance(data.task, Regression):
        found = _of_numbers([_covered(network, data, trial.seed) for network, trial in zip(networks, trials, strict=True)])
    else:
        return None
    return Reliability(trials[0].configuration, *found)


def _of_classes(outputs: list[Tensor], y: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the mean confidence and the accuracy of each bin, over all seeds, and the calibration error of each seed."""
    stated = torch.stack([output.softmax(-1).amax(-1).flatten() for output in outputs]).double()
    right = torch.stack([(output.argmax(-1) == y).flatten() for output in outputs]).double()
    bins = (stated * BINS).long().clamp_max(BINS - 1)
    errors = [_whole(gap(*seed), len(seed[0])) for seed in zip(stated, right, bins, strict=True)]
    counts = bins.flatten().bincount(minlength=BINS)
    means = [bins.flatten().bincount(values.flatten(), minlength=BINS) / counts for values in (stated, right)]
    drawn = counts >= FEWEST_IN_BIN
    return means[0][drawn].numpy(), means[1][drawn].numpy(), np.array(errors)


def _of_numbers(covered: list[Tensor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the levels, the coverage of each over all seeds, and the mean distance of the two for each seed."""
    errors = [_whole(off_level(seed), len(seed)) for seed in covered]
    return np.array(LEVELS), torch.stack(covered).mean((0, 1)).numpy(), np.array(errors)


def _whole(statistic: Statistic, rows: int) -> float:
    """Returns a statistic of the test rows themselves, each of them once."""
    return float(statistic(torch.ones(1, rows, dtype=torch.float64)))


def _covered(network: nn.Module, data: Dataset, seed: int) -> Tensor:
    """Returns whether the interval of each level covers each test target, (N, levels).

    The intervals are normal; their standard deviation is the RMSE on the validation set of the seed.
    """
    test, validation = (
        (_outputs(network, part, data).reshape(part.y.shape) - torch.from_numpy(part.y)).double()
        for part in (data.test, data.sets(seed)[1])
    )
    quantiles = torch.special.ndtri((1 + torch.tensor(LEVELS, dtype=torch.float64)) / 2)
    return (test.abs().reshape(-1, 1) <= quantiles * validation.square().mean().sqrt()).double()


def _outputs(network: nn.Module, part: Split, data: Dataset) -> Tensor:
    network.eval()
    with torch.no_grad():
        return torch.cat([network(rows).float() for rows in torch.from_numpy(part.x).split(data.evaluation_rows)])
