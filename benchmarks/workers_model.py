"""Trials/s of many workers on one storage: a simulator, what it says of the measured points, and of more workers."""

import heapq
from typing import Any, NamedTuple

from benchmarks.markdown import load, table
from thinnet.study.workers.queue import batch_size

WAITING = 200
"""How many trials wait in the studies of the forecast."""


class Cost(NamedTuple):
    """What a storage costs.

    Args:
        each: seconds of one worker for each trial: to claim it, and to write its result.
        look: seconds of one worker to look into the queue, for each trial that waits.
        share: the part of these seconds in which the storage serves no other worker.
    """

    each: float
    look: float
    share: float

    def alone(self, training: float, waiting: float) -> float:
        """Return the seconds of one worker on the storage for a trial of so many seconds."""
        looking = self.look * waiting
        return self.each + looking / batch_size(looking, training, round(waiting), 0)


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


def cost_of(rows: list[dict[str, Any]], database: str) -> Cost:
    """Return the cost of a storage, from trials that take no time: one worker alone, and as many as are fastest."""
    found = [row for row in rows if row["database"] == database and not row["training"]]
    rates = {row["workers"]: row["trials_per_second"] for row in found}
    return Cost(1 / rates[1], found[0]["look"], rates[1] / max(rates.values()))


def predicted(rows: list[dict[str, Any]], row: dict[str, Any]) -> float:
    """Return what the simulator says of a measured row."""
    cost = cost_of(rows, row["database"])
    alone = cost.alone(row["training"], row["trials"] / 2) if row["training"] else cost.each
    return simulated(row["workers"], row["training"], alone, alone * cost.share)


def measured() -> str:
    """Return the table of the measured points beside the simulated ones."""
    rows = load("workers")["rows"]
    body = [
        [
            row["database"],
            str(row["workers"]),
            f"{row['training']:g} s",
            f"{row['trials_per_second']:.3g}",
            f"{predicted(rows, row):.3g}",
        ]
        for row in rows
    ]
    return table(["storage", "workers", "a trial", "trials/s", "simulated"], body)


def forecast() -> str:
    """Return the table of workers that have a machine each: the database alone is shared."""
    rows, body = load("workers")["rows"], []
    name = "PostgreSQL"
    cost = cost_of(rows, name)
    served = max(row["server"] for row in rows if row["database"] == name and not row["training"] and row["workers"] > 1)
    for training in (1.0, 60.0, 600.0):
        alone = cost.alone(training, WAITING)
        for workers in (10, 1_000, 100_000):
            found = simulated(workers, training, alone, min(served, alone), trials=max(20_000, 3 * workers))
            share = found * training / workers
            line = [f"{training:g} s", f"{workers:,}", f"{found:.3g}", f"{share:.2g}", f"{training / 3.6 / share:.3g}"]
            body.append(line)
    return table(["a trial", "workers", "trials/s", "share spent training", "worker hours for 1,000 trials"], body)
