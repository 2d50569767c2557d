"""Trials/s that a database hands out and records, and what a trial costs: `python -m benchmarks.workers`, about 5 minutes.

All workers and the database share this machine. `workers_model` says what more workers, each with a machine, make of that.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import sqlalchemy as sql
from optuna.trial import TrialState

from benchmarks import workers_model
from benchmarks.measure import write
from thinnet.study.design.configuration import Configuration, TrialKey
from thinnet.study.training.trial import Trial
from thinnet.study.training.weights import weights_path
from thinnet.study.workers import work
from thinnet.study.workers.store import Store

TRIALS, PATIENCE = 256, 300.0
POINTS = [(0.0, workers) for workers in (1, 2, 4, 8, 16, 32, 64)] + [(1.0, workers) for workers in (4, 16, 64)]
"""The seconds of a trial, and the number of workers."""

WEIGHTS = bytes(100_000)
"""As many as those of a small perceptron: they travel with the result."""


class Database(NamedTuple):
    """A database, and the process that serves it."""

    url: str
    server: int | None = None

    def seconds(self) -> float:
        """Returns the seconds that the processors have spent in the server: also for connections that are closed."""
        if self.server is None:
            return 0.0
        children = Path(f"/proc/{self.server}/task/{self.server}/children").read_text().split()
        ticks = [Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:15] for process in children]
        ticks += [Path(f"/proc/{self.server}/stat").read_text().rpartition(")")[2].split()[11:15]]
        return sum(int(each) for four in ticks for each in four) / os.sysconf("SC_CLK_TCK")


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, Database]]:
    """Yields each database by its name."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from postgres import BINARIES, postgres  # pyright: ignore[reportMissingImports]

    found = {"SQLite": Database(f"sqlite:///{folder / 'shared.db'}")}
    if not BINARIES:
        yield found
        return
    with postgres() as port:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        engine = sql.create_engine(url)
        with engine.connect() as connection:
            data = connection.execute(sql.text("SHOW data_directory")).scalar()
        engine.dispose()
        yield found | {"PostgreSQL": Database(url, int(Path(f"{data}/postmaster.pid").read_text().split()[0]))}


def serve(folder: Path, url: str, name: str, training: float, start: Barrier, done: Any, number: int) -> None:
    """Works as `thinnet study work` does, but for the training, until no trial waits."""

    def run_trial(data: object, plan: object, folder: Path, key: TrialKey, watch: object) -> Trial:
        time.sleep(training)
        path = weights_path(folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(WEIGHTS)
        return Trial(*key, {"validation_loss": [0.5]}, 0, 0.0)

    work.run_trial = run_trial  # type: ignore[assignment]
    store = Store.join(folder / str(number), url, name)
    worker = work.Worker(store, None, None)  # type: ignore[arg-type]
    worker.batch()  # one trial: the first statement of each kind takes longer
    start.wait(PATIENCE)
    while trials := worker.batch():
        done[number] += len(trials)
    store.close()


def point(folder: Path, name: str, database: Database, training: float, workers: int) -> dict[str, object]:
    """Measures so many workers: trials/s, seconds of a look for each waiting trial, and of the server for each trial."""
    context = multiprocessing.get_context("fork")  # 64 imports of PyTorch would take minutes
    trials = min(TRIALS, 8 * workers) if training else TRIALS
    folder = folder / f"{name} {training} {workers}"
    store = Store(folder, {"data": str(folder), "places": ["all"]}, database.url)
    store.queue.put(TrialKey(Configuration("dropout", 0.5), seed) for seed in range(trials + workers))
    store.queue.counts()
    began = time.perf_counter()
    store.queue._rows(TrialState.WAITING)
    look = (time.perf_counter() - began) / (trials + workers)
    store.close()
    start, done = context.Barrier(workers + 1), context.Array("l", workers, lock=False)
    arguments = (store.folder, database.url, store.name, training, start, done)
    processes = [context.Process(target=serve, args=(*arguments, number)) for number in range(workers)]
    for process in processes:
        process.start()
    start.wait(PATIENCE)
    begun, before = time.monotonic(), database.seconds()
    while sum(done) < trials and any(process.is_alive() for process in processes):
        time.sleep(0.005)
    rate = sum(done) / (time.monotonic() - begun)
    for process in processes:
        process.join()
    row: dict[str, object] = {
        "database": name,
        "workers": workers,
        "training": training,
        "trials": trials,
        "trials_per_second": round(rate, 2),
    }
    return row | {"look": round(look, 7), "server": round((database.seconds() - before) / trials, 5)}


def rows() -> Iterator[dict[str, object]]:
    """Measures every database with every number of workers."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, databases(Path(folder)) as found:
        for name, database in found.items():
            for training, workers in POINTS:
                yield point(Path(folder), name, database, training, workers)


if __name__ == "__main__":
    measured: list[dict[str, object]] = []
    for row in rows():
        measured.append(row)
        print(row, file=sys.stderr, flush=True)
        write("workers", measured)
    print(workers_model.measured(), workers_model.forecast(), sep="\n\n")
