"""The folder of a study: its lock, its identity and its finished trials."""

import os
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage

from thinnet.study.configuration import ALL, METHODS, NONE, RIVALS, SCHEDULES, Configuration, TrialKey
from thinnet.study.plan import StudyError
from thinnet.study.trial import Trial
from thinnet.study.weights import weights_digest, weights_path

DATABASE, LOCK, PARTIAL = "study.db", "study.lock", "study.db.partial"
NAME = "thinnet"


class Store:
    """The folder of one study, held by one process at a time.

    Args:
        folder: made if missing.
        identity: what two runs must share to share the folder: numbers, texts and lists.

    Raises:
        StudyError: the folder holds anything else, or another process is using it. Nothing is changed then.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        self._space = {
            "method": CategoricalDistribution((NONE, *METHODS, *RIVALS)),
            "rate": FloatDistribution(0.0, 1.0),
            "place": CategoricalDistribution((ALL, *(place for place in identity.get("places", ()) if place != ALL))),
            "schedule": CategoricalDistribution(tuple(SCHEDULES)),
            "seed": IntDistribution(0, 2**31 - 1),
        }
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        _refuse_foreign(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        if not (folder / DATABASE).exists():
            _create(folder, identity)
        self._storage = _storage_at(folder / DATABASE)
        try:
            self._study = optuna.load_study(study_name=NAME, storage=self._storage)
            _refuse_other(folder, self._study.user_attrs["identity"], identity)
        except BaseException:
            self.close()
            raise

    def finished(self) -> dict[TrialKey, Trial]:
        """Return the finished trials whose weights are intact."""
        trials = {}
        for row in self._study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]):
            params = dict(row.params)
            trial = Trial(seed=params.pop("seed"), configuration=Configuration(**params), **row.user_attrs)
            if weights_digest(weights_path(self.folder, trial.key)) == trial.digest:
                trials[trial.key] = trial
        return trials

    def add(self, trial: Trial) -> None:
        """Record a finished trial, whose weights are on disk, in one transaction."""
        attributes = {name: value for name, value in asdict(trial).items() if name not in ("configuration", "seed")}
        params = trial.configuration._asdict() | {"seed": trial.seed}
        self._study.add_trial(
            optuna.trial.create_trial(params=params, distributions=self._space, value=trial.loss, user_attrs=attributes)
        )

    def look(self, chosen: Configuration, seeds: int) -> list[dict[str, Any]]:
        """Record one use of the test set, for a choice made on so many seeds; return every different use so far."""
        looks = self._study.user_attrs.get("test_looks", [])
        now = chosen._asdict() | {"seeds": seeds}
        if now not in looks:
            looks = [*looks, now]
            self._study.set_user_attr("test_looks", looks)
        return looks

    def close(self) -> None:
        """Release the folder."""
        self._storage.remove_session()
        self._storage.engine.dispose()
        self._lock.close()


def _refuse_foreign(folder: Path) -> None:
    where, advice = repr(str(folder)), "Choose another --out."
    if folder.exists() and not folder.is_dir():
        raise StudyError("--out", "the path must be that of a folder", f"the file {where}", advice)
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if DATABASE not in names and (others := names - {LOCK, PARTIAL}):
        got = f"{where}, which holds {min(others)!r}"
        raise StudyError("--out", "the folder must be new, empty or a study's", got, advice)
    if DATABASE in names:
        try:
            names = optuna.get_all_study_names(storage=_storage_at(folder / DATABASE))
        except Exception:
            names = []
        if NAME not in names:
            raise StudyError("--out", f"{DATABASE} must be a study of thinnet", f"another file in {where}", advice)


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
    storage = _storage_at(partial)
    study = optuna.create_study(study_name=NAME, storage=storage, direction="minimize")
    study.set_user_attr("identity", identity)
    storage.remove_session()
    storage.engine.dispose()
    os.replace(partial, folder / DATABASE)


def _storage_at(path: Path) -> RDBStorage:
    return RDBStorage(f"sqlite:///{path}")


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
