"""Measures the missing seeds of claims, several at a time, and keeps each result at once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import torch

from thinnet.report.mistakes import Mistake
from thinnet.reproductions.claim import Claim
from thinnet.reproductions.claims import claims as load
from thinnet.reproductions.pictures import Pictures
from thinnet.reproductions.store import Values

Task = tuple[str, int]
"""A claim by name, and a seed."""

FIRST = 101
"""The first seed: those below it were looked at when epochs and learning rates were set."""


def numbers(seeds: int) -> range:
    """Returns so many seeds.

    >>> numbers(3)
    range(101, 104)
    """
    return range(FIRST, FIRST + seeds)


def run(claims: Sequence[Claim], seeds: int, data: Pictures, url: str, jobs: int) -> Iterator[Task]:
    """Measures what the database does not hold yet; yields each task as it finishes, those that it held first.

    Raises:
        Mistake: a worker was killed, for instance because memory ran out.
    """
    values = {claim.name: Values(url, claim, data) for claim in claims}
    wanted = [(claim.name, seed) for seed in numbers(seeds) for claim in claims]
    held = {(name, seed) for name, each in values.items() for seed in each.finished()}
    yield from (task for task in wanted if task in held)
    for (name, seed), found in _measured([task for task in wanted if task not in held], data, jobs):
        values[name].add(seed, found)
        yield name, seed


def _measured(tasks: Sequence[Task], data: Pictures, jobs: int) -> Iterator[tuple[Task, dict[str, float]]]:
    if jobs == 1 or len(tasks) < 2:
        yield from ((task, measure(*task, data)) for task in tasks)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))
    try:
        running: dict[Future[dict[str, float]], Task] = {pool.submit(measure, *task, data): task for task in tasks}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenProcessPool:
        rule = "thinnet reproduce: a worker was killed; what was finished is kept."
        raise Mistake(f"{rule} Run the command again, with fewer --jobs.") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def measure(name: str, seed: int, data: Pictures) -> dict[str, float]:
    """Returns the values of one seed of a claim."""
    [claim] = load([name])
    return claim.measure(seed, data)
