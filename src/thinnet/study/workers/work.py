"""The loop of a worker: take trials from the queue until the study is done."""

import math
import time
from collections.abc import Iterator

from thinnet.study.data.dataset import Dataset
from thinnet.study.design.plan import Plan
from thinnet.study.training.trial import Trial, Watch, run_trial
from thinnet.study.workers.store import Store

REST, EXPIRE = 0.2, 10.0
"""Seconds between two looks into an empty queue, and between two searches for trials of dead workers."""


class Worker:
    """Trains trials of one study.

    Args:
        store: of the study.
        data: the dataset.
        plan: the settings.
        watch: is told of every epoch.
    """

    def __init__(self, store: Store, data: Dataset, plan: Plan, watch: Watch | None = None) -> None:
        self.store, self.data, self.plan, self.watch = store, data, plan, watch
        self._seconds = math.inf

    def batch(self, largest: int | None = None) -> list[Trial]:
        """Trains a batch of the queue and records it; returns its trials, none if the queue is empty.

        A trial that another worker has finished, whose claim was lost meanwhile, is not trained again.
        """
        trials: list[Trial] = []
        trained: list[Trial] = []
        with self.store.queue.take(self._seconds, largest) as batch:
            began = time.perf_counter()
            try:
                for key in batch.keys:
                    trial = self.store.records.get(key)
                    if trial is None:
                        trial = run_trial(self.data, self.plan, self.store.folder, key, self.watch)
                        trained.append(trial)
                    trials.append(trial)
                    self._seconds = (time.perf_counter() - began) / len(trials)
            finally:  # also after Ctrl-C
                self.store.add(trained)
                for trial in trials:
                    batch.end(trial)
        return trials

    def work(self) -> Iterator[Trial]:
        """Trains trials, and yields each, until the study is done. Where the queue is empty, it waits."""
        expired = time.monotonic()
        while not self.store.done:
            trials = self.batch()
            yield from trials
            if not trials:
                if time.monotonic() - expired > EXPIRE:
                    self.store.expire()
                    expired = time.monotonic()
                time.sleep(REST)
