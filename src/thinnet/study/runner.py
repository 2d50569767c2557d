"""Train the missing trials, seed by seed, in one process or several."""

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

from thinnet.study.configuration import TrialKey
from thinnet.study.dataset import Dataset
from thinnet.study.halving import current_look
from thinnet.study.plan import Plan, StudyError, whole_rounds
from thinnet.study.store import Store
from thinnet.study.trial import Trial, run_trial


def run(data: Dataset, plan: Plan, store: Store, seeds: int, jobs: int, budget: float | None) -> Generator[Trial, None, None]:
    """Train the missing trials of every look; store and yield each as it finishes.

    Args:
        data: the dataset.
        plan: the settings.
        store: records the trials.
        seeds: the number of seeds of a finalist.
        jobs: the number of processes; it changes no number.
        budget: seconds after which no more trials are awaited, once one round is whole.

    Raises:
        StudyError: a loss is not finite, or a process was killed.
    """
    started = time.monotonic()
    losses = {key: trial.loss for key, trial in store.finished().items()}
    while keys := missing(losses, current_look(plan, losses, seeds).keys):
        if jobs > 1:
            trials = _in_processes(keys, data, plan, store.folder, jobs)
        else:
            trials = (run_trial(data, plan, store.folder, key) for key in keys)
        with closing(trials):
            for trial in trials:
                store.add(trial)
                losses[trial.key] = trial.loss
                yield trial
                spent = budget is not None and time.monotonic() - started >= budget
                if spent and whole_rounds(losses, plan.configurations, 1):
                    return


def missing(finished: Iterable[TrialKey], wanted: Iterable[TrialKey]) -> list[TrialKey]:
    """List the trials to train, in the wanted order."""
    have = set(finished)
    return [key for key in wanted if key not in have]


def _in_processes(keys: list[TrialKey], data: Dataset, plan: Plan, folder: Path, jobs: int) -> Generator[Trial, None, None]:
    """Train in worker processes, which end with this process even when it is killed."""
    context = multiprocessing.get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(jobs, max(len(keys), 1)), context, _begin_worker, (data, plan, folder, lifeline))
    try:
        for future in as_completed(_submitted(pool, keys)):
            yield future.result()
    except BrokenProcessPool:
        advice = "Run the same command again with fewer --jobs; finished trials are not lost."
        raise StudyError("--jobs", "every process must live to the end", "one that was killed", advice) from None
    finally:
        held.close()
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, keys: list[TrialKey]) -> "list[Future[Trial]]":
    """Submit the trials, and start the workers with SIGINT blocked; the parent handles Ctrl-C."""
    if not hasattr(signal, "pthread_sigmask"):
        return [pool.submit(_work, key) for key in keys]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return [pool.submit(_work, key) for key in keys]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_common: tuple[Dataset, Plan, Path]


def _begin_worker(data: Dataset, plan: Plan, folder: Path, lifeline: Connection) -> None:
    """Keep what all trials share. End this process with its parent, which alone keeps the other end of the lifeline open."""
    global _common
    _common = (data, plan, folder)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()  # nothing is ever sent
    except EOFError:
        os._exit(1)


def _work(key: TrialKey) -> Trial:
    return run_trial(*_common, key)
