"""Trains the arms that are missing, seed by seed, in as many processes as asked for."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

from thinnet.study.cases import Data
from thinnet.study.plan import Key, Plan, StudyError, whole_rounds
from thinnet.study.store import Store
from thinnet.study.trial import Trial, run_trial


def missing(finished: Iterable[Key], arms: Iterable[tuple[str, float]], seeds: int) -> list[Key]:
    """Lists what is to be trained, one seed after the other, so that a stop leaves whole rounds.

    Args:
        finished: the trials at hand.
        arms: the (method, rate) pairs of a round.
        seeds: the number of rounds.

    Returns:
        The keys of the missing trials.

    Example:
        >>> keys = missing({Key("dropout", 0.0, 0)}, [("dropout", 0.0), ("dropout", 0.5)], seeds=2)
        >>> [(key.rate, key.seed) for key in keys]
        [(0.5, 0), (0.0, 1), (0.5, 1)]
    """
    have, want = set(finished), tuple(arms)
    return [key for seed in range(seeds) for key in (Key(*arm, seed) for arm in want) if key not in have]


def run(data: Data, plan: Plan, store: Store, seeds: int, jobs: int, budget: float | None) -> Generator[Trial, None, None]:
    """Trains what is missing and notes every trial as it finishes.

    Args:
        data: what to train on.
        plan: the settings.
        store: where trials are noted.
        seeds: the number of rounds.
        jobs: the number of processes; it changes no number.
        budget: seconds after which no more trials are waited for, once one round is whole.

    Yields:
        The trials, in the order in which they finish.

    Raises:
        StudyError: if a loss stops being finite, or a process is killed.
    """
    started = time.monotonic()
    done = set(store.finished())
    keys = missing(done, plan.arms, seeds)
    if jobs > 1:
        trials = side_by_side(keys, data, plan, store.folder, jobs)
    else:
        trials = one_by_one(keys, data, plan, store.folder)
    with closing(trials):
        for trial in trials:
            store.add(trial)
            done.add(trial.key)
            yield trial
            spent = budget is not None and time.monotonic() - started >= budget
            if spent and whole_rounds(done, plan.arms, seeds) >= 1:
                return


def one_by_one(keys: list[Key], data: Data, plan: Plan, folder: Path) -> Generator[Trial, None, None]:
    """Trains in this process.

    Args:
        keys: what to train.
        data: what to train on.
        plan: the settings.
        folder: where weights go.

    Yields:
        The trials, in order.
    """
    for key in keys:
        yield run_trial(data, plan, folder, key)


def side_by_side(keys: list[Key], data: Data, plan: Plan, folder: Path, jobs: int) -> Generator[Trial, None, None]:
    """Trains in several processes, which end when this one does, even when it is killed.

    Args:
        keys: what to train.
        data: what to train on.
        plan: the settings.
        folder: where weights go.
        jobs: the number of processes.

    Yields:
        The trials, in the order in which they finish.
    """
    context = multiprocessing.get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(jobs, max(len(keys), 1)), context, begin_worker, (data, plan, folder, lifeline))
    try:
        for future in as_completed(submitted(pool, keys)):
            yield future.result()
    except BrokenProcessPool:
        advice = "Run the same command again with fewer --jobs; finished trials are not lost."
        raise StudyError("--jobs", "every process must live to the end", "one that was killed", advice) from None
    finally:
        held.close()
        pool.shutdown(cancel_futures=True)


def submitted(pool: ProcessPoolExecutor, keys: list[Key]) -> "list[Future[Trial]]":
    """Starts the processes deaf to Ctrl-C, which is this process's to answer: they inherit what it blocks.

    Args:
        pool: starts its processes on the first submissions.
        keys: what to train.

    Returns:
        A future for each trial.
    """
    if not hasattr(signal, "pthread_sigmask"):
        return [pool.submit(work, key) for key in keys]
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return [pool.submit(work, key) for key in keys]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)


_common: tuple[Data, Plan, Path]


def begin_worker(data: Data, plan: Plan, folder: Path, lifeline: Connection) -> None:
    """Gives a worker process what all its trials share, and ties its life to the study's.

    Args:
        data: what to train on.
        plan: the settings.
        folder: where weights go.
        lifeline: its other end is held by the study's process alone.
    """
    global _common
    _common = (data, plan, folder)
    threading.Thread(target=end_with, args=(lifeline,), daemon=True).start()


def end_with(lifeline: Connection) -> None:
    """Ends this process when the other end of the lifeline is closed; nothing is ever sent through it.

    Args:
        lifeline: the end to listen at.
    """
    try:
        lifeline.recv_bytes()
    except EOFError:
        os._exit(1)


def work(key: Key) -> Trial:
    """Trains one arm in a worker process.

    Args:
        key: which arm and seed.

    Returns:
        The trial.
    """
    return run_trial(*_common, key)
