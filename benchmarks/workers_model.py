"""Trials/s of many workers on one storage: a simulator, what it says of measured points, and of more workers.

A storage is known by its trials/s with 1, 2, 4, ... workers that do not train: a service centre whose rate depends on how many
wait. Workers that train come to it after each trial.
"""

import heapq
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.markdown import load, table
from thinnet.study.workers.queue import batch_size

WAITING, CORES = 200, 16
"""The trials that wait in a study of the forecast, and the cores of its PostgreSQL server."""

STATED = 4.0
"""The factor within which the simulator agrees with workers that train."""

Rate = Callable[[int], float]
Row = dict[str, Any]


def simulated(workers: int, training: float, rate: Rate, trials: int = 20_000) -> float:
    """Returns the trials/s of a study, by events: a worker trains, comes to the storage, and waits while others are served.

    Args:
        workers: their number.
        training: seconds of one trial.
        rate: trials/s that the storage serves while so many workers are there.
        trials: how many are simulated at least.
    """
    rounds = max(3, math.ceil(trials / workers))
    ready = [(0.0, number) for number in range(workers)]  # all start at once, as they do in the measurement
    now, there, ends = 0.0, [], list[float]()
    for _ in range(rounds * workers):
        now = now if there else max(now, ready[0][0])
        while ready and ready[0][0] <= now:
            there.append(heapq.heappop(ready)[1])
        now += 1 / rate(len(there))
        ends.append(now)
        heapq.heappush(ready, (now + training, there.pop()))
    later = ends[workers - 1 :]  # after the first round, in which nobody has trained yet
    return (len(later) - 1) / (later[-1] - later[0])


def without_training(rows: list[Row], database: str) -> dict[int, float]:
    """Returns the measured trials/s of a storage by the number of workers."""
    return {row["workers"]: row["trials_per_second"] for row in rows if row["database"] == database and not row["training"]}


def between(rates: dict[int, float]) -> Rate:
    """Returns trials/s for any number of workers: between two measured ones in proportion, on logarithmic axes.

    >>> rate = between({1: 10.0, 4: 20.0})
    >>> rate(1), round(rate(2), 1), rate(100)
    (10.0, 14.1, 20.0)
    """
    known = sorted(rates)

    def rate(workers: int) -> float:
        after = next((each for each in known if each >= workers), known[-1])
        before = max((each for each in known if each <= workers), default=after)
        if before == after:
            return rates[after]
        part = math.log(workers / before) / math.log(after / before)
        return rates[before] ** (1 - part) * rates[after] ** part

    return rate


def predicted(rows: list[Row], row: Row) -> float:
    """Returns what the simulator says of a measured row."""
    return simulated(row["workers"], row["training"], between(without_training(rows, row["database"])), trials=4_000)


def measured() -> str:
    """Returns the table of the measured points, and what the simulator says where workers train."""
    rows, body = load("workers")["rows"], []
    for row in rows:
        said = f"{predicted(rows, row):.3g}" if row["training"] else ""
        line = [row["database"], str(row["workers"]), f"{row['training']:g} s", f"{row['trials_per_second']:.3g}", said]
        body.append(line)
    return table(["storage", "workers", "a trial", "trials/s", "simulated"], body)


def forecast() -> str:
    """Returns the table of workers that have a machine each, and share a server of PostgreSQL."""
    rows, body = [row for row in load("workers")["rows"] if row["database"] == "PostgreSQL" and not row["training"]], []
    alone = 1 / rows[0]["trials_per_second"]
    best = max(rows, key=lambda row: row["trials_per_second"])
    for training in (1.0, 60.0, 600.0):
        looking = rows[0]["look"] * WAITING
        each = alone + looking / batch_size(looking, training, WAITING, 0)
        rate = partial(_served, each, CORES / best["server"])
        for workers in (10, 1_000, 100_000):
            found = simulated(workers, training, rate, trials=20_000)
            share = found * training / workers
            numbers = f"{found:.3g}", f"{100 * share:.3g} %", f"{1_000 * workers / found / 3600:,.3g}"
            body.append([f"{training:g} s", f"{workers:,}", *numbers])
    return table(["a trial", "workers", "trials/s", "time spent training", "worker hours for 1,000 trials"], body)


def _served(each: float, most: float, there: int) -> float:
    return min(there / each, most)
