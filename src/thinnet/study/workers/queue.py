"""The queue of a study's trials: Optuna hands them out, expires those of dead workers, and puts them back."""

import random
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import optuna
import sqlalchemy as sql
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from thinnet.study.design.configuration import Configuration, TrialKey
from thinnet.study.workers.records import LOST, patient

HEARTBEAT, GRACE, RETRIES = 10, 30, 10
"""Seconds between two signs of life of a worker, after how many a trial is given to another one, and how often."""

POOL = {"pool_size": 1, "max_overflow": 4}
"""A worker keeps one connection: a server of PostgreSQL takes 100 unless told otherwise."""

PLANNED = "planned"
"""Marks what a study has asked for: Optuna makes trials up where the queue is empty."""


class Storage(RDBStorage):
    """Optuna's storage; a lost connection does not end the thread that shows that a worker is alive."""

    def __init__(self, url: str, **more: Any) -> None:
        arguments = {"timeout": GRACE} if url.startswith("sqlite") else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(
                url,
                engine_kwargs={"pool_pre_ping": True, "connect_args": arguments, **POOL},
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
                **more,
            )

        if url.startswith("sqlite"):
            event.listen(self.engine, "begin", _immediate)

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a sign of life, if the database can be reached."""
        try:
            super().record_heartbeat(trial_id)
        except Exception:  # whatever the driver raises: the next one may succeed
            return


def _immediate(connection: sql.Connection) -> None:
    """Begin with the lock of SQLite: after a mere read, two workers could take one trial."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class Unplanned(Exception):
    """Optuna has made a trial up, because another worker took the last one."""


class Queue:
    """The trials of a study that are to be trained.

    Args:
        study: Optuna's study.
        space: the distribution of every part of a key.
    """

    def __init__(self, study: optuna.Study, space: Mapping[str, BaseDistribution]) -> None:
        self.study, self.space = study, dict(space)
        self._silent: dict[int, float] = {}
        self.study._pop_waiting_trial_id = self._claim  # type: ignore[method-assign]

    @patient
    def put(self, keys: Iterable[TrialKey]) -> None:
        """Add the trials that neither wait nor run."""
        there = {key_of(row) for row in self._rows(TrialState.WAITING, TrialState.RUNNING)}
        for key in keys:
            if key not in there:
                params = key.configuration._asdict() | {"seed": key.seed}
                self.study.enqueue_trial(params, user_attrs={PLANNED: True})

    def reset(self) -> None:
        """Fail the trials that run. Only for a study that no other process works on."""
        for row in self._rows(TrialState.RUNNING):
            self.study.tell(row.number, state=TrialState.FAIL, skip_if_finished=True)

    def counts(self) -> dict[str, int]:
        """Return how many trials wait and how many run."""
        return {
            name: len(self._rows(state)) for name, state in (("waiting", TrialState.WAITING), ("running", TrialState.RUNNING))
        }

    @patient
    def expire(self, engine: sql.Engine) -> None:
        """Put trials of dead workers back, also of those that died before their first sign of life."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)
        with engine.connect() as connection:
            alive = set(connection.execute(sql.text("SELECT trial_id FROM trial_heartbeats")).scalars())
        silent = {row.number for row in self._rows(TrialState.RUNNING) if row._trial_id not in alive}
        self._silent = {number: self._silent.get(number, time.monotonic()) for number in silent}
        for number, since in self._silent.items():
            if time.monotonic() - since > GRACE:
                self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def take(self, work: Callable[[TrialKey], float | None]) -> bool:
        """Train one trial.

        Args:
            work: trains a trial and returns its validation loss; None if it failed.

        Returns: whether there was one.
        """
        if not self._rows(TrialState.WAITING):
            return False

        finished = False

        def objective(trial: optuna.Trial) -> float:
            nonlocal finished
            if PLANNED not in trial.user_attrs:
                raise Unplanned
            values = {name: _suggested(trial, name, distribution) for name, distribution in self.space.items()}
            seed = values.pop("seed")
            loss = work(TrialKey(Configuration(**values), seed))
            finished = True
            if loss is None:
                raise optuna.TrialPruned
            return loss

        try:
            self.study.optimize(objective, n_trials=1, catch=(Unplanned,))
        except Exception as error:
            # A result is stored already, and a trial without one expires. Optuna raises errors of its own where it cannot tell
            # a result: another worker has told it first, or the database cannot be reached.
            if not finished and not _is_lost(error):
                raise
            return finished
        return True

    def _claim(self) -> int | None:
        """Claim a waiting trial. Optuna lets all workers try the first one: of 16 workers, 15 fail each time."""
        rows = self._rows(TrialState.WAITING, TrialState.RUNNING)
        waiting = [row for row in rows if row.state == TrialState.WAITING]
        first = random.randrange(len(rows) - len(waiting) + 1)  # in order where no other worker runs
        for row in waiting[first:] + waiting[:first]:
            with suppress(UpdateFinishedTrialError):
                if self.study._storage.set_trial_state_values(row._trial_id, TrialState.RUNNING):
                    return row._trial_id
        return None

    @patient
    def _rows(self, *states: TrialState) -> list[FrozenTrial]:
        rows = self.study.get_trials(deepcopy=False, states=states)
        return [row for row in rows if PLANNED in row.user_attrs]


def key_of(row: FrozenTrial) -> TrialKey:
    """Return the key of a trial that was put into the queue."""
    params = dict(row.system_attrs.get("fixed_params") or row.params)
    seed = params.pop("seed")
    return TrialKey(Configuration(**params), seed)


def _is_lost(error: BaseException | None) -> bool:
    """Return whether an error, or one that it followed, is that of a database that cannot be reached."""
    while error is not None and not isinstance(error, LOST):
        error = error.__cause__ or error.__context__
    return error is not None


def _suggested(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    whole = isinstance(distribution, optuna.distributions.IntDistribution)
    return trial.suggest_int(name, low, high) if whole else trial.suggest_float(name, low, high)
