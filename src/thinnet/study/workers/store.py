"""The store of a study: its folder, which one process holds, and its database, which workers share."""

import hashlib
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from thinnet.study.design.configuration import ALL, METHODS, NONE, RIVALS, SCHEDULES, Configuration, TrialKey
from thinnet.study.design.plan import StudyError
from thinnet.study.training.trial import Trial
from thinnet.study.training.weights import weights_digest, weights_path
from thinnet.study.workers.database import NAME, raced, refuse_foreign, shown, storage_at, studies_in
from thinnet.study.workers.queue import MOST_DEATHS, Queue, Storage
from thinnet.study.workers.records import TABLES, Records, patient

DATABASE, LOCK, PARTIAL, ELSEWHERE = "study.db", "study.lock", "study.db.partial", "study.url"
DONE = "done"
VERSION = "schema"
SCHEMA = {VERSION: 3}
"""Part of every identity. Version 1 had no table of results, version 2 another queue: run the study again, or its version."""


class Store:
    """The trials of one study.

    Args:
        folder: for weights and the report; made if missing, and held by one process at a time.
        identity: what two runs must share to share the store: numbers, texts and lists.
        url: the database; None for SQLite in the folder. One database may hold many studies.

    Raises:
        StudyError: the folder or the database holds anything else, cannot be reached, or another process holds the folder.
            Nothing is changed then.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], url: str | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        identity = SCHEMA | identity
        _refuse_foreign(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock: sqlite3.Connection | None = _locked(folder)
        try:
            if url is None:
                url, name = local_url(folder), NAME
                if not (folder / DATABASE).exists():
                    _create(folder, identity)
            else:
                refuse_foreign(url)
                name = name_of(identity)
                _refuse_moved(folder, f"{shown(url)}#{name}")
            self._open(folder, url, name, identity)
            if not self.local:
                (folder / ELSEWHERE).write_text(f"{shown(url)}#{name}\n")
            _refuse_other(folder, self.study.user_attrs["identity"], identity)
        except BaseException:
            self.close()
            raise

    def _open(self, folder: Path, url: str, name: str, identity: dict[str, Any]) -> None:
        self.folder, self.url, self.name = folder, url, name
        self._storage = storage_at(url, joined=not identity)
        if identity:  # who joins writes nothing
            raced(lambda: TABLES.create_all(self._storage.engine))
            optuna.create_study(study_name=name, storage=self._storage, direction="minimize", load_if_exists=True)
        self.study = optuna.load_study(study_name=name, storage=self._storage)
        if identity and "identity" not in self.study.user_attrs:
            self.study.set_user_attr("identity", identity)
        places = self.study.user_attrs.get("identity", {}).get("places", ())
        space = {
            "method": CategoricalDistribution((NONE, *METHODS, *RIVALS)),
            "rate": FloatDistribution(0.0, 1.0),
            "place": CategoricalDistribution((ALL, *(place for place in places if place != ALL))),
            "schedule": CategoricalDistribution(tuple(SCHEDULES)),
            "seed": IntDistribution(0, 2**31 - 1),
        }
        self.records = Records(self._storage.engine, name, blobs=url != local_url(folder))
        self.queue = Queue(self._storage, self.study, space)

    @classmethod
    def join(cls, folder: Path, url: str, name: str) -> "Store":
        """Opens a study that another process has begun; the folder is for the weights of this worker.

        Raises:
            StudyError: the database cannot be reached, or has no such study.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        store = cls.__new__(cls)
        store._lock = None
        folder.mkdir(parents=True, exist_ok=True)
        if name not in studies_in(url):
            raise StudyError(
                "--storage", "the database must hold the study", f"{name!r} is not in it", "Start the study first."
            )
        store._open(folder, url, name, {})
        return store

    @property
    def local(self) -> bool:
        """Whether the database is a file of the folder, so that no other machine works on it."""
        return not self.records.blobs

    def finished(self) -> dict[TrialKey, Trial]:
        """Returns the results of trials, also of those that failed; without those whose weights are lost."""
        trials = self.records.trials()
        if self.local:
            lost = [key for key, trial in trials.items() if not trial.failed and not self._intact(trial)]
            for key in lost:
                self.records.remove(key)
            return {key: trial for key, trial in trials.items() if key not in lost}
        return trials

    def add(self, trials: list[Trial]) -> None:
        """Record finished trials, whose weights are in the folder."""
        self.records.add(trials, [self._weights(trial) if self.records.blobs else None for trial in trials])

    def expire(self) -> None:
        """Puts trials of dead workers back into the queue; one that was fatal too often fails."""
        reason = f"{MOST_DEATHS} workers ended without an error while they trained it, as when memory does not suffice"
        self.add([Trial(*key, {}, 0, 0.0, failed=reason) for key in self.queue.expire(self.records.keys)])

    def retry(self) -> int:
        """Removes the results of failed trials, so that they are trained again; returns how many."""
        failed = [key for key, trial in self.records.trials().items() if trial.failed]
        for key in failed:
            self.records.remove(key)
        return len(failed)

    def _weights(self, trial: Trial) -> bytes | None:
        return None if trial.failed else weights_path(self.folder, trial.key).read_bytes()

    def fetch(self, trials: list[Trial]) -> None:
        """Copy weights that another machine has trained from the database into the folder."""
        for trial in trials:
            if not self._intact(trial) and (content := self.records.weights(trial.key)) is not None:
                path = weights_path(self.folder, trial.key)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def _intact(self, trial: Trial) -> bool:
        return weights_digest(weights_path(self.folder, trial.key)) == trial.digest

    @patient
    def look(self, chosen: Configuration, seeds: int) -> list[dict[str, Any]]:
        """Record one use of the test set, for a choice made on so many seeds; return every different use so far."""
        looks = self.study.user_attrs.get("test_looks", [])
        now = chosen._asdict() | {"seeds": seeds}
        if now not in looks:
            looks = [*looks, now]
            self.study.set_user_attr("test_looks", looks)
        return looks

    @property
    @patient
    def done(self) -> bool:
        """Whether every trial is finished, so that workers may go."""
        return bool(self.study.user_attrs.get(DONE))

    @done.setter
    @patient
    def done(self, value: bool) -> None:
        self.study.set_user_attr(DONE, value)

    def close(self) -> None:
        """Release the folder and the database."""
        if hasattr(self, "_storage"):
            self._storage.close()
        if self._lock is not None:
            self._lock.close()


def name_of(identity: dict[str, Any]) -> str:
    """Returns the name of a study in a database of many: equal studies have equal names."""
    return f"{NAME}-{hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]}"


def version_of(identity: dict[str, Any]) -> int:
    """Returns the version of the store of a study."""
    return identity.get(VERSION, 1)


def local_url(folder: Path) -> str:
    """Returns the URL of the database in a folder."""
    return f"sqlite:///{folder / DATABASE}"


def _refuse_foreign(folder: Path) -> None:
    where, advice = repr(str(folder)), "Choose another --out."
    if folder.exists() and not folder.is_dir():
        raise StudyError("--out", "the path must be that of a folder", f"the file {where}", advice)
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not {DATABASE, ELSEWHERE} & names and (others := names - {LOCK, PARTIAL}):
        got = f"{where}, which holds {min(others)!r}"
        raise StudyError("--out", "the folder must be new, empty or a study's", got, advice)
    if DATABASE in names:
        identity = identity_in(folder)
        if identity is None:
            raise StudyError("--out", f"{DATABASE} must be a study of thinnet", f"another file in {where}", advice)
        if (theirs := version_of(identity)) != (ours := SCHEMA[VERSION]):
            rule, got = f"the study must be of this version of the store, {ours}", f"{where}, a study of version {theirs}"
            raise StudyError("--out", rule, got, "Choose another --out, or install the version of thinnet that began it.")


def identity_in(folder: Path, url: str | None = None) -> dict[str, Any] | None:
    """Returns the identity of the study of a folder, which stays as it is; None if its database holds none.

    Args:
        folder: of the study.
        url: the database; None for SQLite in the folder.
    """
    try:
        name = NAME if url is None else (folder / ELSEWHERE).read_text().strip().rpartition("#")[2]
        return studies_in(url or local_url(folder))[name]["identity"]
    except (StudyError, KeyError, OSError):
        return None


def _refuse_moved(folder: Path, where: str) -> None:
    """Refuses a folder whose study is elsewhere."""
    mark = folder / ELSEWHERE
    there = local_url(folder) if (folder / DATABASE).exists() else mark.read_text().strip() if mark.exists() else where
    if there != where:
        rule = "the folder must belong to the study in that database"
        raise StudyError("--out", rule, f"{str(folder)!r}, whose study is in {there}", "Choose another --out.")


def _refuse_other(folder: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    for name in ours:
        if theirs.get(name) != ours[name]:
            rule = f"the folder must be new or hold this same study, with {name} {_short(ours[name])}"
            got = f"{str(folder)!r}, a study with {name} {_short(theirs.get(name))}"
            raise StudyError("--out", rule, got, "Choose another --out, or remove that folder.")


def _short(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else text[:12] + "..."


def _create(folder: Path, identity: dict[str, Any]) -> None:
    """Create the database with its identity in one atomic step."""
    partial = folder / PARTIAL
    partial.unlink(missing_ok=True)
    storage = Storage(f"sqlite:///{partial}")
    study = optuna.create_study(study_name=NAME, storage=storage, direction="minimize")
    study.set_user_attr("identity", identity)
    storage.close()
    os.replace(partial, folder / DATABASE)


def _locked(folder: Path) -> sqlite3.Connection:
    """Lock the folder until the connection is closed. SQLite's file lock ends with the process, however it ends."""
    lock = sqlite3.connect(folder / LOCK, timeout=0)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if "locked" not in str(error):
            raise
        got = f"{str(folder)!r}, where a study is running"
        raise StudyError("--out", "the folder must be free", got, "Wait for it, or choose another --out.") from None
    return lock
