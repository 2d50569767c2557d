"""The folder of a study: who owns it, and which trials are finished."""

import os
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import RDBStorage

from thinnet.study.plan import Key, StudyError
from thinnet.study.trial import Trial
from thinnet.study.weights import weights_digest, weights_path

DATABASE, LOCK, PARTIAL = "study.db", "study.lock", "study.db.partial"
NAME = "thinnet"
BEFORE_METHODS = {"methods": ["dropout"], "groups": 1}
"""What the identity of a study says that was begun before a study could compare methods."""
SPACE = {"rate": FloatDistribution(0.0, 1.0), "seed": IntDistribution(0, 2**31 - 1)}


class Store:
    """The folder of one study, held by one process at a time.

    Args:
        folder: made when it does not exist.
        identity: what makes two studies the same one; numbers, texts and lists.

    Raises:
        StudyError: if the folder holds anything else, or another process is at work in it. Nothing is then changed.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        refuse_strangers(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = locked(folder)
        if not (folder / DATABASE).exists():
            create(folder, identity)
        self._storage = storage_at(folder / DATABASE)
        try:
            self._study = optuna.load_study(study_name=NAME, storage=self._storage)
            refuse_other(folder, BEFORE_METHODS | self._study.user_attrs["identity"], identity)
        except BaseException:
            self.close()
            raise

    def finished(self) -> dict[Key, Trial]:
        """Finds what need not be trained again.

        Returns:
            The trials whose weights are whole, by their keys. Those noted before a study had methods are of dropout.
        """
        trials = {}
        for row in self._study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]):
            trial = Trial(rate=row.params["rate"], seed=row.params["seed"], **row.user_attrs)
            if weights_digest(weights_path(self.folder, trial.key)) == trial.digest:
                trials[trial.key] = trial
        return trials

    def add(self, trial: Trial) -> None:
        """Notes a finished trial, in one transaction: an interrupted one leaves no trace.

        Args:
            trial: its weights already on disk.
        """
        attributes = asdict(trial)
        params = {name: attributes.pop(name) for name in SPACE}
        value = trial.at("best")["validation_loss"]
        self._study.add_trial(
            optuna.trial.create_trial(params=params, distributions=dict(SPACE), value=value, user_attrs=attributes)
        )

    def look(self, rate: float, seeds: int) -> list[dict[str, Any]]:
        """Notes that the test rows are looked at.

        Args:
            rate: the chosen rate.
            seeds: how many seeds it was chosen on.

        Returns:
            Every different look so far, this one included.
        """
        looks = self._study.user_attrs.get("test_looks", [])
        now = {"rate": rate, "seeds": seeds}
        if now not in looks:
            looks = [*looks, now]
            self._study.set_user_attr("test_looks", looks)
        return looks

    def close(self) -> None:
        """Lets go of the folder."""
        self._storage.remove_session()
        self._storage.engine.dispose()
        self._lock.close()


def refuse_strangers(folder: Path) -> None:
    """Refuses a folder that is not a study's.

    Args:
        folder: may be missing.

    Raises:
        StudyError: if something is there that is not a study.
    """
    where, advice = repr(str(folder)), "Choose another --out."
    if folder.exists() and not folder.is_dir():
        raise StudyError("--out", "the path must be that of a folder", f"the file {where}", advice)
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if DATABASE not in names and (others := names - {LOCK, PARTIAL}):
        got = f"{where}, which holds {min(others)!r}"
        raise StudyError("--out", "the folder must be new, empty or a study's", got, advice)
    if DATABASE in names:
        try:
            names = optuna.get_all_study_names(storage=storage_at(folder / DATABASE))
        except Exception:
            names = []
        if NAME not in names:
            raise StudyError("--out", f"{DATABASE} must be a study of thinnet", f"another file in {where}", advice)


def refuse_other(folder: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Refuses a folder that belongs to another study.

    Args:
        folder: the folder.
        theirs: the identity of the study in it.
        ours: the identity of this study.

    Raises:
        StudyError: naming the first difference.
    """
    for name in ours:
        if theirs.get(name) != ours[name]:
            rule = f"the folder must be new or hold this same study, with {name} {shown(ours[name])}"
            got = f"{str(folder)!r}, a study with {name} {shown(theirs.get(name))}"
            raise StudyError("--out", rule, got, "Choose another --out, or remove that folder.")


def shown(value: Any) -> str:
    """Puts a setting in few words.

    Args:
        value: of any kind.

    Returns:
        At most about 40 characters.
    """
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else text[:12] + "..."


def create(folder: Path, identity: dict[str, Any]) -> None:
    """Makes the database beside its place and moves it there with its identity inside.

    Args:
        folder: the folder.
        identity: what the study is.
    """
    partial = folder / PARTIAL
    partial.unlink(missing_ok=True)
    storage = storage_at(partial)
    study = optuna.create_study(study_name=NAME, storage=storage, direction="minimize")
    study.set_user_attr("identity", identity)
    storage.remove_session()
    storage.engine.dispose()
    os.replace(partial, folder / DATABASE)


def storage_at(path: Path) -> RDBStorage:
    """Opens Optuna's storage.

    Args:
        path: an SQLite file.

    Returns:
        The storage.
    """
    return RDBStorage(f"sqlite:///{path}")


def locked(folder: Path) -> sqlite3.Connection:
    """Takes the folder for this process; SQLite's file lock goes when the process does, however it ends.

    Args:
        folder: the folder.

    Returns:
        What holds the lock until it is closed.

    Raises:
        StudyError: if another process has it.
    """
    lock = sqlite3.connect(folder / LOCK, timeout=0)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        lock.close()
        got = f"{str(folder)!r}, where a study is running"
        raise StudyError("--out", "the folder must be free", got, "Wait for it, or choose another --out.") from None
    return lock
