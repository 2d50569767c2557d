"""Does thinned training regularise like dropout? `python -m benchmarks.quality.thin`, about 7 minutes on 2 cores.

Four data sets of scikit-learn, two rates, ten seeds. With one seed, all ways share split, initial weights and batches. The ways
are dropout with a mask for each sample, and thinning with 1 or 4 groups a batch; on digits at p = 0.5 also 2, 8 and 16.
Each trial is scored on the test set with the weights of its best validation epoch. Intervals treat seeds and test rows as
random. Times are of training steps alone, one thread a trial. Writes thin_quality.json and thin_groups.png.
"""

import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from sklearn import datasets

from benchmarks.measure import write
from thinnet.report.progress import tracked
from thinnet.study.data.dataset import Dataset
from thinnet.study.data.preparing import prepare
from thinnet.study.data.tables import from_arrays, read_table
from thinnet.study.design.configuration import DROPOUT, THIN, Configuration, TrialKey
from thinnet.study.design.plan import Plan
from thinnet.study.evidence.statistics import crossed_interval
from thinnet.study.findings.cost import Ratio, ratio, to_target
from thinnet.study.training.network import seeded_network
from thinnet.study.training.trial import Trial, one_thread, score, train

SEEDS, RATES, GROUPS, KNOB = 10, (0.2, 0.5), (1, 4), (1, 2, 4, 8, 16)
PLAN = Plan(rates=RATES, hidden=(512, 512), batch=128, methods=(DROPOUT, THIN))
EPOCHS = {"digits": 100, "breast cancer": 100, "wine": 150, "diabetes": 60}
SLOW = 3e-4
"""The learning rate on the small tables, where an epoch is one to three steps."""


class Way(NamedTuple):
    """What is trained: no dropout (rate 0), dropout with a mask for each sample (no groups), or thinned in groups."""

    p: float
    groups: int

    @property
    def name(self) -> str:
        if self.p == 0:
            return "no dropout"
        return f"thin, {self.groups} a batch" if self.groups else "per sample"


@dataclass(frozen=True)
class Outcome:
    """The result of a trial, and the loss of each test row."""

    trial: Trial
    losses: np.ndarray


@cache
def data_of(name: str) -> Dataset:
    """Returns a data set, split into training, validation and test sets."""
    if name == "digits":
        return prepare(read_table(None, None), None, seed=0)
    load = {"breast cancer": datasets.load_breast_cancer, "wine": datasets.load_wine, "diabetes": datasets.load_diabetes}
    x, y = load[name](return_X_y=True)
    task = "regression" if name == "diabetes" else "classification"
    return prepare(from_arrays(name, np.asarray(x), np.asarray(y), "target"), task, seed=0)


def ways(name: str) -> list[Way]:
    """Returns what is trained on a data set."""
    found = [Way(0.0, 0)]
    for p in RATES:
        found += [Way(p, groups) for groups in (0, *(KNOB if name == "digits" and p == 0.5 else GROUPS))]
    return found


def jobs() -> Iterator[tuple[str, Way, int]]:
    """Yields every trial. Those of one seed follow each other, so that the state of the machine is similar."""
    for name in EPOCHS:
        yield from ((name, way, seed) for seed in range(SEEDS) for way in ways(name))


def outcome(job: tuple[str, Way, int]) -> Outcome:
    """Trains one trial and scores it on the test rows."""
    name, way, seed = job
    data = data_of(name)
    rate = PLAN.learning_rate if name == "digits" else SLOW
    plan = replace(PLAN, epochs=EPOCHS[name], groups=max(way.groups, 1), learning_rate=rate)
    with one_thread():
        key = TrialKey(Configuration(THIN if way.groups else DROPOUT, way.p), seed)
        trial, states = train(data, plan, key)
        network = seeded_network(data, plan, key.configuration, seed=0)
        network.load_state_dict(states["best"])
        losses, _ = score(network, data.task, torch.from_numpy(data.test.x), torch.from_numpy(data.test.y))
    return Outcome(trial, losses.numpy())


def row(name: str, p: float, way: Way, ours: list[Outcome], theirs: list[Outcome]) -> dict[str, object]:
    """Returns the comparison of one way with per-sample dropout at the same rate, paired by seed and test row."""
    differences = np.stack([a.losses - b.losses for a, b in zip(ours, theirs, strict=True)])
    interval = crossed_interval(differences)
    trials = [(a.trial, b.trial) for a, b in zip(ours, theirs, strict=True)]
    return {
        "data": name,
        "loss is": data_of(name).task.loss_name,
        "p": p,
        "way": way.name,
        "groups": way.groups,
        "seeds": len(ours),
        "loss": round(float(np.mean([a.losses.mean() for a in ours])), 5),
        "difference": {part: round(value, 5) for part, value in asdict(interval).items()},
        "equal": interval.low <= 0 <= interval.high,
        "best epoch, median": float(np.median([a.trial.best + 1 for a in ours])),
        "epochs": EPOCHS[name],
        "time": numbers(ratio([a.seconds / b.seconds for a, b in trials])),
        "time to target": numbers(ratio([to_target(a, b) for a, b in trials])),
    }


def numbers(found: Ratio) -> dict[str, float]:
    """Returns a rounded ratio and its interval."""
    assert found.interval is not None
    return {"mean": round(found.mean, 3), "low": round(found.interval.low, 3), "high": round(found.interval.high, 3)}


def rows(outcomes: dict[tuple[str, Way, int], Outcome]) -> list[dict[str, object]]:
    """Returns one row a data set, rate and way."""
    found = []
    for name in EPOCHS:
        for p in RATES:
            compared = [way for way in ways(name) if way.p in (0.0, p)]
            of = {way: [outcomes[name, way, seed] for seed in range(SEEDS)] for way in compared}
            found += [row(name, p, way, of[way], of[Way(p, 0)]) for way in compared]
    return found


def main() -> int:
    """Trains everything in two processes, writes the results and the figure; returns the exit status."""
    from benchmarks import thin_tables
    from benchmarks.quality.thin_picture import draw

    todo = list(jobs())
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        done = list(tracked(pool.map(outcome, todo), "training", len(todo)))
    torch.set_num_threads(1)
    found = rows(dict(zip(todo, done, strict=True)))
    write("thin_quality", found)
    draw(found)
    print(thin_tables.thin_quality())
    return 0


if __name__ == "__main__":
    sys.exit(main())
