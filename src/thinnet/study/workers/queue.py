"""The queue of a study's trials: Optuna keeps them, hands each to one worker, and expires those of dead workers."""

import math
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

import optuna
import sqlalchemy as sql
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from thinnet.study.design.configuration import Configuration, TrialKey
from thinnet.study.training.trial import Trial
from thinnet.study.workers.records import LOST, patient
from thinnet.study.workers.sqlite import Connection, fold, lock_rows

HEARTBEAT, GRACE = 10, 30
"""Seconds between two signs of life of a worker, and after how many a trial is given to another one."""

MOST_DEATHS, GIVEN_BACK = 10, "given back"
"""With how many dead workers a trial fails, and what marks a trial whose worker did not die. Both have the state FAIL."""

POOL = {"pool_size": 1, "max_overflow": 4}
"""A worker keeps one connection: a server of PostgreSQL takes 100 unless told otherwise."""


class Storage(RDBStorage):
    """Optuna's storage, with heartbeats, and with SQLite as this package uses it."""

    def __init__(self, url: str, **more: Any) -> None:
        self.is_sqlite = url.startswith("sqlite")
        arguments = {"timeout": GRACE, "factory": Connection} if self.is_sqlite else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(
                url,
                engine_kwargs={"pool_pre_ping": True, "connect_args": arguments, **POOL},
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                **more,
            )
        if self.is_sqlite:
            lock_rows(self.engine)

    def close(self) -> None:
        """Close all connections."""
        self.remove_session()
        self.engine.dispose()
        if self.is_sqlite:
            fold(self.engine)


class Queue:
    """The trials of a study that are to be trained.

    Args:
        storage: Optuna's storage.
        study: Optuna's study in it.
        space: the distribution of every part of a key.
    """

    def __init__(self, storage: Storage, study: optuna.Study, space: Mapping[str, BaseDistribution]) -> None:
        self.storage, self.study, self.space = storage, study, dict(space)
        self.id = storage.get_study_id_from_name(study.study_name)
        self._silent: dict[int, float] = {}

    @patient
    def put(self, keys: Iterable[TrialKey]) -> None:
        """Adds the trials that neither wait nor run."""
        there = self._queued()
        for key in keys:
            if key not in there:
                self._add(key)

    def _add(self, key: TrialKey, state: TrialState = TrialState.WAITING) -> None:
        params = key.configuration._asdict() | {"seed": key.seed}
        self.study.add_trial(optuna.create_trial(state=state, params=params, distributions=self.space))

    def reset(self) -> None:
        """End the trials that run. Only for a study that no other process works on."""
        for row in self._rows(TrialState.RUNNING):
            self._give_back(self._trial_id(row))

    def counts(self) -> dict[str, int]:
        """Returns how many trials wait and how many run."""
        return {
            name: len(self._rows(state)) for name, state in (("waiting", TrialState.WAITING), ("running", TrialState.RUNNING))
        }

    @patient
    def expire(self, finished: Callable[[], set[TrialKey]]) -> list[TrialKey]:
        """Puts trials of dead workers back, also of those that died before their first sign of life.

        Args:
            finished: returns the trials that have a result.

        Returns: the trials with which MOST_DEATHS workers have died. They are not put back.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)
        with self.storage.engine.connect() as connection:
            alive = set(connection.execute(sql.text("SELECT trial_id FROM trial_heartbeats")).scalars())
        running = {self._trial_id(row) for row in self._rows(TrialState.RUNNING)}
        self._silent = {trial: self._silent.get(trial, time.monotonic()) for trial in running - alive}
        for trial, since in self._silent.items():
            if time.monotonic() - since > GRACE:
                self._end(trial, TrialState.FAIL)
        lost = {key_of(row) for row in self._rows(TrialState.FAIL)} - set(self._queued())
        fatal = []
        for key in sorted(lost - finished()) if lost else ():
            if self._deaths(key) < MOST_DEATHS:
                self._add(key)
            else:
                self._add(key, TrialState.PRUNED)
                fatal.append(key)
        for _, *again in self._queued().values():
            for row in again:
                self._give_back(self._trial_id(row))
        return fatal

    def _queued(self) -> dict[TrialKey, list[FrozenTrial]]:
        """Returns the rows of the trials that wait or run: one each, more if workers have put a trial back at the same time."""
        queued: dict[TrialKey, list[FrozenTrial]] = {}
        for row in sorted(self._rows(TrialState.WAITING, TrialState.RUNNING), key=lambda row: row.number):
            queued.setdefault(key_of(row), []).append(row)
        return queued

    def _deaths(self, key: TrialKey) -> int:
        """Returns how many workers have died with a trial since it had a result."""
        deaths = 0
        for row in self._rows(TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE):
            if key_of(row) == key:
                deaths = deaths + is_death(row) if row.state == TrialState.FAIL else 0
        return deaths

    def take(self, seconds: float, largest: int | None = None) -> "Batch":
        """Claim trials for one worker.

        Args:
            seconds: what a trial has taken so far.
            largest: how many at most; None for what the time to look asks for.

        Returns: a batch, in which the time to look into the queue is small. It is empty if no trial waits.
        """
        began = time.perf_counter()
        queued = [rows[0] for rows in self._queued().values()]  # so that no two workers train one trial
        waiting = [row for row in queued if row.state == TrialState.WAITING]
        running = len(queued) - len(waiting)
        suspects = {key_of(row) for row in self._rows(TrialState.FAIL) if is_death(row)}
        size = largest or batch_size(time.perf_counter() - began, seconds, len(waiting), running)
        wide = 2 * running * size + 1  # in order where no other worker runs; or all would try the first trial
        claimed: dict[TrialKey, int] = {}
        at = random.randrange(min(wide, len(waiting) or 1))
        while waiting and len(claimed) < size:
            row = waiting.pop(at % len(waiting))
            trial, key = self._trial_id(row), key_of(row)
            if claimed and key in suspects:
                continue
            if self._claim(trial):
                claimed[key] = trial
                if key in suspects:
                    break  # alone: if this worker dies too, no other trial is the reason
            elif claimed:
                break  # another worker has taken the next ones
            elif waiting:
                at = random.randrange(min(wide, len(waiting)))
        return Batch(self, claimed)

    @patient
    def _claim(self, trial: int) -> bool:
        """Lets a trial run that waits; returns whether it did, and no other worker was faster."""
        with suppress(UpdateFinishedTrialError):
            return self.storage.set_trial_state_values(trial, TrialState.RUNNING)
        return False

    def _give_back(self, trial: int) -> bool:
        """End a trial without a result, whose worker did not die; return whether it ran until now."""
        with suppress(UpdateFinishedTrialError):
            self.storage.set_trial_user_attr(trial, GIVEN_BACK, True)
        return self._end(trial, TrialState.FAIL)

    def _end(self, trial: int, state: TrialState, loss: float | None = None) -> bool:
        """End a trial; return whether it ran until now."""
        with suppress(UpdateFinishedTrialError):
            return self.storage.set_trial_state_values(trial, state, None if loss is None else [loss])
        return False

    @patient
    def _trial_id(self, row: FrozenTrial) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self.id, row.number)

    @patient
    def _rows(self, *states: TrialState) -> list[FrozenTrial]:
        return self.storage.get_all_trials(self.id, deepcopy=False, states=states)  # the study reads all states


class Batch:
    """Trials that one worker has claimed. While the context is open, it shows that it lives; then it gives the rest back.

    Args:
        queue: where they come from.
        claimed: their keys, and their ids in the storage.
    """

    def __init__(self, queue: Queue, claimed: dict[TrialKey, int]) -> None:
        self.queue, self.keys = queue, list(claimed)
        self._claimed, self._over = claimed, threading.Event()
        self._heart = threading.Thread(target=self._beat, args=(list(claimed.values()),), daemon=True)

    def __enter__(self) -> "Batch":
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._heart.join()
        with suppress(*LOST):  # then they expire
            for key, trial in self._claimed.items():
                if self.queue._give_back(trial):
                    self.queue._add(key)

    def _beat(self, trials: list[int]) -> None:
        """Record signs of life."""
        while not self._over.wait(HEARTBEAT):
            for trial in trials:
                with suppress(Exception):  # whatever the driver raises: the next one may succeed
                    self.queue.storage.record_heartbeat(trial)

    @patient
    def end(self, trial: Trial) -> None:
        """Takes a trial out of the queue, whose result is recorded."""
        state, loss = (TrialState.PRUNED, None) if trial.failed else (TrialState.COMPLETE, trial.loss)
        self.queue._end(self._claimed[trial.key], state, loss)
        del self._claimed[trial.key]


SHARE = 0.1
"""The share of its time in which a worker may look into the queue."""


def batch_size(looking: float, training: float, waiting: int, running: int) -> int:
    """Returns how many trials a worker takes at once: one, or so many that looking into the queue takes SHARE of its time.

    Args:
        looking: seconds for one look into the queue.
        training: seconds of a trial.
        waiting: the number of trials that wait; a worker takes its part of them at most.
        running: the number of trials that other workers have taken.

    >>> batch_size(0.05, 60.0, waiting=200, running=4), batch_size(0.05, 0.1, waiting=200, running=4)
    (1, 5)
    >>> batch_size(0.05, 0.0, waiting=200, running=4)
    40
    """
    wanted = looking / SHARE / max(training, 1e-9)
    return max(1, min(math.ceil(wanted), waiting // (running + 1)))


def is_death(row: FrozenTrial) -> bool:
    """Returns whether a worker has died with a trial of the queue."""
    return row.state == TrialState.FAIL and GIVEN_BACK not in row.user_attrs


def key_of(row: FrozenTrial) -> TrialKey:
    """Returns the key of a trial of the queue."""
    params = dict(row.params)
    seed = params.pop("seed")
    return TrialKey(Configuration(**params), seed)
