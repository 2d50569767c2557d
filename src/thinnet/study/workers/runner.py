"""Trains the missing trials of a study: in this process, or by workers of any kind."""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext

from thinnet.study.data.dataset import Dataset
from thinnet.study.design.configuration import TrialKey
from thinnet.study.design.halving import current_look
from thinnet.study.design.plan import Plan, whole_rounds
from thinnet.study.training.trial import Trial
from thinnet.study.workers.launch import Workers
from thinnet.study.workers.records import losses
from thinnet.study.workers.store import Store
from thinnet.study.workers.work import EXPIRE, REST, Worker

Running = Callable[[Mapping[TrialKey, int]], None]
"""Takes the finished epochs of the trials that run."""


def run(
    data: Dataset,
    plan: Plan,
    store: Store,
    seeds: int,
    workers: Workers | None,
    budget: float | None,
    watch: Running = lambda running: None,
) -> Generator[Trial, None, None]:
    """Trains the missing trials of every look; yields each as it finishes.

    Args:
        data: the dataset.
        plan: the settings.
        store: holds the queue and the results.
        seeds: the number of seeds of a finalist.
        workers: who trains; None for this process. It changes no number.
        budget: seconds after which no more trials are awaited, once one round is whole.
        watch: is told, a few times a second or after each epoch, which trials run.

    Raises:
        StudyError: a worker of this machine was killed.
    """
    started = time.monotonic()
    if store.local:
        store.queue.reset()
    store.done = False
    have = losses(store.finished().values())
    running: AbstractContextManager = nullcontext() if workers is None else workers
    with running:
        while keys := missing(have, current_look(plan, have, seeds).keys):
            store.queue.put(keys)
            for trial in _arriving(store, data, plan, set(keys), workers, watch):
                have[trial.key] = trial.loss
                yield trial
                spent = budget is not None and time.monotonic() - started >= budget
                if spent and whole_rounds(have, plan.configurations, 1):
                    return
        store.done = True


def _arriving(
    store: Store, data: Dataset, plan: Plan, wanted: set[TrialKey], workers: Workers | None, watch: Running
) -> Iterable[Trial]:
    """Yields the wanted trials as they finish."""
    expired, worker = time.monotonic(), Worker(store, data, plan, lambda key, epochs: watch({key: epochs}))
    while wanted:
        if workers is None:
            arrived = worker.batch(1)
        else:
            workers.check()
            watch({key: epochs for key, epochs in workers.running().items() if key in wanted})
            time.sleep(REST)
            arrived = [trial for key in store.records.keys() & wanted if (trial := store.records.get(key))]
        for trial in arrived:
            wanted.discard(trial.key)
            yield trial
        if not arrived and time.monotonic() - expired > EXPIRE:
            store.expire()
            expired = time.monotonic()


def missing(finished: Iterable[TrialKey], wanted: Iterable[TrialKey]) -> list[TrialKey]:
    """Lists the trials to train, in the wanted order."""
    have = set(finished)
    return [key for key in wanted if key not in have]
