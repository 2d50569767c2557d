"""The results of trials in a database: each is written once, under the key of its trial."""

import json
import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps
from time import sleep
from typing import Any, TypeVar

import sqlalchemy as sql
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import IntegrityError, OperationalError

from thinnet.study.design.configuration import Configuration, TrialKey
from thinnet.study.training.trial import Trial

TABLES = sql.MetaData()
TRIAL = sql.Table(
    "thinnet_trial",
    TABLES,
    sql.Column("study", sql.String(80), primary_key=True),
    sql.Column("method", sql.String(40), primary_key=True),
    sql.Column("rate", sql.String(40), primary_key=True),
    sql.Column("place", sql.String(200), primary_key=True),
    sql.Column("schedule", sql.String(40), primary_key=True),
    sql.Column("seed", sql.Integer, primary_key=True),
    sql.Column("result", sql.Text, nullable=False),
    sql.Column("failed", sql.Text, nullable=False),
    sql.Column("weights", sql.LargeBinary),
    sql.Column("worker", sql.String(120), nullable=False),
    sql.Column("finished", sql.DateTime, server_default=sql.func.now()),
)
SOURCE = sql.Table(
    "thinnet_source",
    TABLES,
    sql.Column("digest", sql.String(64), primary_key=True),
    sql.Column("name", sql.String(200), nullable=False),
    sql.Column("content", sql.LargeBinary, nullable=False),
)

TRIES, PAUSE = 60, 1.0
"""How often, and after how many seconds, a lost connection is tried again."""

LOST = (OperationalError, StorageInternalError)
"""What SQLAlchemy and Optuna raise where the database cannot be reached."""

LASTING = ("disk is full", "malformed", "readonly", "not a database")
"""What a repetition does not mend."""


def reason_of(error: BaseException) -> str:
    """Returns what the driver says: Optuna and SQLAlchemy raise their own errors from its."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


F = TypeVar("F", bound=Callable[..., Any])


def patient(function: F) -> F:
    """Repeat a function while the database cannot be reached."""

    @wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        for _ in range(TRIES):
            try:
                return function(*arguments, **named)
            except LOST as error:
                if any(words in reason_of(error) for words in LASTING):
                    raise
                sleep(PAUSE)
        return function(*arguments, **named)

    return wrapped  # type: ignore[return-value]


class Records:
    """The results of one study.

    Args:
        engine: of the database.
        study: the name of the study.
        blobs: whether weights are kept in the database, for machines that share no folder.
    """

    def __init__(self, engine: sql.Engine, study: str, blobs: bool) -> None:
        self.engine, self.study, self.blobs = engine, study, blobs

    def add(self, trials: list[Trial], weights: list[bytes | None]) -> None:
        """Writes results in one transaction. A second result of the same trial changes nothing."""
        worker = f"{socket.gethostname()}:{os.getpid()}"
        self._insert(
            [
                _key(trial.key)
                | {
                    "study": self.study,
                    "result": json.dumps(
                        {"curves": trial.curves, "best": trial.best, "seconds": trial.seconds, "digest": trial.digest}
                    ),
                    "failed": trial.failed,
                    "weights": content if self.blobs else None,
                    "worker": worker,
                }
                for trial, content in zip(trials, weights, strict=True)
            ]
        )

    @patient
    def _insert(self, rows: list[dict[str, Any]]) -> None:
        """Insert rows; those that are there stay as they are."""
        if not rows:
            return
        try:
            with self.engine.begin() as connection:
                connection.execute(TRIAL.insert(), rows)
        except IntegrityError:
            for row in rows if len(rows) > 1 else ():
                self._insert([row])

    @patient
    def remove(self, key: TrialKey) -> None:
        """Removes a result, so that its trial is trained again."""
        with self.engine.begin() as connection:
            connection.execute(TRIAL.delete().where(self._is(key)))

    @patient
    def keys(self) -> set[TrialKey]:
        """Returns the keys of all results."""
        columns = [TRIAL.c[name] for name in (*Configuration._fields, "seed")]
        with self.engine.connect() as connection:
            rows = connection.execute(sql.select(*columns).where(TRIAL.c.study == self.study)).mappings().all()
        return {TrialKey(_configuration(row), row["seed"]) for row in rows}

    def trials(self) -> dict[TrialKey, Trial]:
        """Returns every result."""
        return {trial.key: trial for trial in self._select(TRIAL.c.study == self.study)}

    def get(self, key: TrialKey) -> Trial | None:
        """Returns one result."""
        return next(iter(self._select(self._is(key))), None)

    @patient
    def _select(self, condition: sql.ColumnElement[bool]) -> list[Trial]:
        columns = [column for column in TRIAL.columns if column.name != "weights"]
        with self.engine.connect() as connection:
            rows = connection.execute(sql.select(*columns).where(condition)).mappings().all()
        results = [(row, json.loads(row["result"])) for row in rows]
        return [Trial(_configuration(row), row["seed"], **result, failed=row["failed"]) for row, result in results]

    @patient
    def weights(self, key: TrialKey) -> bytes | None:
        """Returns the weights of a trial that the database holds."""
        with self.engine.connect() as connection:
            return connection.execute(sql.select(TRIAL.c.weights).where(self._is(key))).scalar()

    @patient
    def workers(self) -> list[tuple[str, int, str]]:
        """Returns for each worker how many trials it has finished, and when the last one was."""
        count, last = sql.func.count(), sql.func.max(TRIAL.c.finished)
        query = sql.select(TRIAL.c.worker, count, last).where(TRIAL.c.study == self.study).group_by(TRIAL.c.worker)
        with self.engine.connect() as connection:
            return [(worker, number, str(when)) for worker, number, when in connection.execute(query.order_by(TRIAL.c.worker))]

    def _is(self, key: TrialKey) -> sql.ColumnElement[bool]:
        wanted = _key(key) | {"study": self.study}
        return sql.and_(*(TRIAL.c[name] == value for name, value in wanted.items()))


def _key(key: TrialKey) -> dict[str, Any]:
    """Returns the columns of a key. A rate is text, because floating-point keys are not equal in every database."""
    return key.configuration._asdict() | {"rate": repr(key.configuration.rate), "seed": key.seed}


def _configuration(row: Any) -> Configuration:
    return Configuration(row["method"], float(row["rate"]), row["place"], row["schedule"])


@patient
def put_source(engine: sql.Engine, digest: str, name: str, content: bytes) -> None:
    """Keeps a file under the hash of its content."""
    with suppress(IntegrityError), engine.begin() as connection:
        connection.execute(SOURCE.insert().values(digest=digest, name=name, content=content))


@patient
def get_source(engine: sql.Engine, digest: str) -> tuple[str, bytes] | None:
    """Returns the name and the content of a file."""
    with engine.connect() as connection:
        row = connection.execute(sql.select(SOURCE.c.name, SOURCE.c.content).where(SOURCE.c.digest == digest)).first()
    return None if row is None else (row.name, row.content)


def losses(trials: Iterable[Trial]) -> dict[TrialKey, float]:
    """Returns the validation loss of every trial; that of a failed one is infinite."""
    return {trial.key: trial.loss for trial in trials}
