"""What a worker on another machine needs to know of a study: its plan, and where its data are."""

import hashlib
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from thinnet.study.data.dataset import Dataset
from thinnet.study.data.reading import Asked
from thinnet.study.design.plan import Plan, StudyError
from thinnet.study.workers.records import get_source, put_source
from thinnet.study.workers.store import SCHEMA, VERSION, Store, version_of

MOST_BYTES = 2**28
"""A larger file does not travel through the database: each worker reads it at its own path."""


def announce(store: Store, asked: Asked | None, plan: Plan, seeds: int) -> None:
    """Writes down what `status` shows, and what workers elsewhere need: the plan, and the file by the hash of its content.

    Args:
        store: of the study.
        asked: what another machine needs to read the same data; None for a DataFrame.
        plan: the settings.
        seeds: the number of seeds of a finalist.
    """
    if asked is not None and asked.file is not None and not store.local:
        asked = _published(store, asked, Path(asked.file))
    said = {"file": "a DataFrame"} if asked is None else asdict(asked)
    for name, value in {"asked": said, "plan": asdict(plan), "seeds": seeds}.items():
        store.study.set_user_attr(name, value)


def _published(store: Store, asked: Asked, path: Path) -> Asked:
    """Keeps a file in the database, and returns what is asked with its hash and its whole path."""
    if path.is_dir():
        return replace(asked, file=str(path.resolve()))
    if not path.is_file():  # the name of a problem
        return asked
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if len(content) <= MOST_BYTES:
        put_source(store.records.engine, digest, path.name, content)
    return replace(asked, digest=digest, file=str(path.resolve()))


def restored(attributes: dict[str, Any]) -> Plan:
    """Returns the plan among the attributes of a study."""
    values: dict[str, Any] = attributes["plan"]
    arguments: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Plan(**arguments)


def problem_of(store: Store, data: Path | None) -> tuple[Dataset, Plan]:
    """Returns the data and the plan of a study that another process has published.

    Args:
        store: of the study.
        data: the path of the data on this machine; None for the path on the first machine, or a copy from the database.

    Raises:
        StudyError: the data cannot be found here, or are others.
    """
    attributes = store.study.user_attrs
    if (theirs := version_of(attributes["identity"])) != (ours := SCHEMA[VERSION]):
        rule, advice = f"the study must be of this version of the store, {ours}", "Choose another one with --study."
        raise StudyError("--storage", rule, f"{store.name}, a study of version {theirs}", advice)
    plan = restored(attributes)
    asked = Asked(**attributes["asked"] | {"columns": tuple(attributes["asked"]["columns"])})
    with tempfile.TemporaryDirectory() as folder:
        found = replace(asked, file=_here(store, asked, data, Path(folder))).open().dataset(plan.seed)
    found = found.limited(plan.rows)
    theirs, ours = attributes["identity"]["data"], found.fingerprint()
    if theirs != ours:
        rule = "the data of a worker must be those of its study"
        raise StudyError("--data", rule, f"others at {data or asked.file}", "Give the path of the same file with --data.")
    return found, plan


def _here(store: Store, asked: Asked, data: Path | None, folder: Path) -> str | None:
    """Returns where the data are on this machine."""
    if data is not None:
        return str(data)
    if not asked.digest:
        return asked.file
    path = Path(str(asked.file))
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == asked.digest:
        return str(path)
    copy: Any = get_source(store.records.engine, asked.digest)
    if copy is None:
        raise StudyError("--data", "the data must be on this machine", f"no {path}", "Give their path with --data.")
    (folder / copy[0]).write_bytes(copy[1])
    return str(folder / copy[0])
