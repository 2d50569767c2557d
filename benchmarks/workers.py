"""Trials/s that a database hands out and records, with trials that cost nothing: `python -m benchmarks.workers`.

The simulator below then says what more workers, and trials that take time, make of the measured storage.
"""

import heapq
import itertools
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import optuna

from benchmarks.measure import write
from thinnet.study.design.configuration import Configuration, TrialKey
from thinnet.study.training.trial import Trial
from thinnet.study.workers.store import Store

WORKERS, WAITING, SECONDS, PATIENCE = (1, 4, 16, 64), 200, 10.0, 100.0
WEIGHTS = bytes(100_000)
"""As many as those of a small perceptron: they travel with the result."""


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the URL of each database by its name."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from postgres import BINARIES, postgres  # pyright: ignore[reportMissingImports]

    urls = {"SQLite": f"sqlite:///{folder / 'shared.db'}"}
    if not BINARIES:
        yield urls
        return
    with postgres() as port:
        yield urls | {"PostgreSQL": f"postgresql://postgres@127.0.0.1:{port}/postgres"}


def work(folder: Path, url: str, name: str, start: Barrier, counts: Any, number: int) -> None:
    """Take and record trials until the time is over."""
    store = Store.join(folder / str(number), url, name)

    def trained(key: TrialKey) -> float:
        store.records.add(Trial(*key, {"validation_loss": [0.5]}, 0, 0.0), WEIGHTS)
        return 0.5

    start.wait(PATIENCE)
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends and store.queue.take(trained):
        counts[number] += time.monotonic() < ends
    store.close()


def rate(folder: Path, url: str, workers: int) -> float:
    """Measure the trials/s of so many processes."""
    context = multiprocessing.get_context("fork")  # 64 imports of PyTorch would take minutes
    store = Store(folder / f"{workers}", {"data": f"nothing {workers}", "places": ["all"]}, url)
    store.queue.put(TrialKey(Configuration("dropout", 0.5), seed) for seed in range(WAITING))
    store.close()
    start, counts = context.Barrier(workers + 1), context.Array("l", workers, lock=False)
    arguments = (store.folder, url, store.name, start, counts)
    processes = [context.Process(target=work, args=(*arguments, number)) for number in range(workers)]
    for process in processes:
        process.start()
    start.wait(PATIENCE)
    begun = time.monotonic()
    while time.monotonic() - begun < SECONDS and sum(counts) < WAITING:
        time.sleep(0.01)
    found = sum(counts) / (time.monotonic() - begun)
    for process in processes:
        process.join()
    return found


def simulated(workers: int, training: float, alone: float, serial: float, trials: int = 20_000) -> float:
    """Return the trials/s of a study, by events: a worker trains, talks to the database, and waits while others do.

    Args:
        workers: their number.
        training: seconds of one trial.
        alone: seconds that one worker spends on the storage for a trial, where no other one waits.
        serial: the part of them in which no other worker is served.
        trials: how many are simulated.
    """
    step = (training + alone) / workers  # workers do not start at once
    ready = [(number * step, number) for number in range(min(workers, trials))]
    free, ends = 0.0, list[float]()
    for _ in range(trials + len(ready)):
        now, number = heapq.heappop(ready)
        free = max(now, free) + serial
        ends.append(free)
        heapq.heappush(ready, (free + alone - serial + training, number))
    later = ends[len(ends) // 2 :]  # after the beginning
    return (len(later) - 1) / (later[-1] - later[0])


def rows() -> list[dict[str, object]]:
    """Measure every database with every number of workers."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder, databases(Path(folder)) as urls:
        for (name, url), workers in itertools.product(urls.items(), WORKERS):
            measured = rate(Path(folder) / name, url, workers)
            found.append({"database": name, "workers": workers, "trials_per_second": round(measured, 2)})
            print(found[-1], file=sys.stderr, flush=True)
    return found


def parameters(rows: list[dict[str, Any]], database: str) -> tuple[float, float]:
    """Return the seconds for the storage of one worker alone, and those in which it keeps the others waiting."""
    rates = {row["workers"]: row["trials_per_second"] for row in rows if row["database"] == database}
    return 1 / rates[1], 1 / max(rates.values())


def forecast(rows: list[dict[str, Any]], training: float = 60.0) -> Iterator[str]:
    """Yield a line for each number of workers: trials/s, hours of workers for 1,000 trials, and the share spent training."""
    for database in dict.fromkeys(row["database"] for row in rows):
        alone, serial = parameters(rows, database)
        for workers in (10, 1_000, 100_000):
            found = simulated(workers, training, alone, serial, trials=max(20_000, 3 * workers))
            hours = 1_000 * workers / found / 3600
            yield f"| {database} | {workers:,} | {found:.3g} | {hours:,.3g} | {found * training / workers:.2g} |"


if __name__ == "__main__":
    measured = rows()
    write("workers", measured)
    print("\n".join(forecast(measured)))
