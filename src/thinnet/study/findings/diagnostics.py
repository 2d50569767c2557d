"""What dropout did to the networks of a study: co-adaptation, redundancy and memorising, paired by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thinnet.diagnosis.diagnose import diagnose
from thinnet.report.table import Table
from thinnet.study.data.dataset import Dataset, Split
from thinnet.study.design.plan import FEWEST_SEEDS, Plan
from thinnet.study.evidence.formatting import interval_text
from thinnet.study.evidence.statistics import Interval, seed_interval
from thinnet.study.training.scores import trained
from thinnet.study.training.trial import Trial, score

SAMPLES, ORDERS = 500, 3
"""How many training samples are measured, and how many orders an ablation averages."""

REASONS = (
    ("correlation of hidden units", "lower: less co-adaptation"),
    ("loss with half the units of a layer off", "lower: more redundancy"),
    ("training loss", "higher: less memorising of noise"),
)


@dataclass(frozen=True)
class Reason:
    """One measure of the networks without and with dropout, averaged over seeds, and the paired difference."""

    name: str
    meaning: str
    without: float
    with_dropout: float
    interval: Interval | None


def reasons(data: Dataset, plan: Plan, folder: Path, pair: Sequence[list[Trial]], view: str) -> list[Reason]:
    """Measures the networks of the baseline and of a configuration.

    Args:
        data: the dataset.
        plan: the settings.
        folder: the folder of the study.
        pair: the trials of the baseline, and those of the configuration, of the same seeds.
        view: `best` or `last` weights.
    """
    sides = []
    for trials in pair:
        networks = trained(data, plan, folder, trials, view)
        sides.append(
            [_measures(network, data, data.sets(trial.seed)[0]) for network, trial in zip(networks, trials, strict=True)]
        )
    found = []
    for place, (name, meaning) in enumerate(REASONS):
        without, kept = (np.array([row[place] for row in side]) for side in sides)
        interval = seed_interval(kept - without) if len(kept) >= FEWEST_SEEDS else None
        found.append(Reason(name, meaning, float(without.mean()), float(kept.mean()), interval))
    return found


def reasons_table(reasons: Sequence[Reason]) -> Table:
    """Returns one row for each reason."""
    rows = [(each.name, each.without, each.with_dropout, interval_text(each.interval), each.meaning) for each in reasons]
    return Table(("measure", "without dropout", "with", "difference [95 %]", "meaning"), rows)


def _measures(network: nn.Module, data: Dataset, train: Split) -> tuple[float, float, float]:
    """Returns co-adaptation, the loss with half the units of a layer off, and the training loss of one network."""
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    pair = (x, y[:, None] if y.is_floating_point() else y)
    found = diagnose(network, pair, measures=("coadaptation", "ablation"), orders=ORDERS, max_samples=SAMPLES)
    energy = [layer.coadaptation.energy for layer in found.layers if layer.coadaptation]
    half = [np.mean(layer.ablation.loss, 0)[layer.ablation.fractions.index(0.5)] for layer in found.layers if layer.ablation]
    losses, _ = score(network, data.task, x, y, data.evaluation_rows)
    return float(np.mean(energy)), float(np.mean(half)), losses.mean().item()
