"""The loop of a worker: take trials from the queue until the study is done."""

import time
from collections.abc import Iterator

from thinnet.study.data.dataset import Dataset
from thinnet.study.design.configuration import TrialKey
from thinnet.study.design.plan import Plan
from thinnet.study.training.trial import Trial, run_trial
from thinnet.study.workers.store import Store

REST, EXPIRE = 0.2, 10.0
"""Seconds between two looks into an empty queue, and between two searches for trials of dead workers."""


def train_one(store: Store, data: Dataset, plan: Plan) -> Trial | None:
    """Train one trial of the queue, and record it.

    Returns: the trial; None if the queue is empty.
    """
    found: list[Trial] = []

    def train(key: TrialKey) -> float | None:
        trial = store.records.get(key) or run_trial(data, plan, store.folder, key)
        store.add(trial)
        found.append(trial)
        return None if trial.failed else trial.loss

    return found[0] if store.queue.take(train) and found else None


def work(store: Store, data: Dataset, plan: Plan) -> Iterator[Trial]:
    """Train trials, and yield each, until the study is done. Where the queue is empty, wait."""
    expired = time.monotonic()
    while not store.done:
        trial = train_one(store, data, plan)
        if trial is not None:
            yield trial
        else:
            if time.monotonic() - expired > EXPIRE:
                store.queue.expire(store.records.engine)
                expired = time.monotonic()
            time.sleep(REST)
