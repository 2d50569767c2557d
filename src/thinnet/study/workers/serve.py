"""`thinnet study work` and `thinnet study status`: a worker that can run anywhere, and what all of them have done."""

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from thinnet.report.formatting import counted
from thinnet.report.table import Table
from thinnet.study.design.configuration import Configuration
from thinnet.study.design.halving import trials_in_all
from thinnet.study.design.plan import StudyError
from thinnet.study.workers.database import NAME, UnreachableError, refuse_missing, shown, studies_in
from thinnet.study.workers.problem import problem_of, restored
from thinnet.study.workers.records import LOST, PAUSE, TRIES
from thinnet.study.workers.sqlite import missing_file, read_only
from thinnet.study.workers.store import DONE, SCHEMA, VERSION, Store, version_of
from thinnet.study.workers.work import Worker

T = TypeVar("T")


def open_studies(url: str, wanted: str | None) -> list[str]:
    """Returns the names of the studies in a database that are published and not done, of this version or the wanted one.

    The study of a folder is none of them: its weights are files, and its command starts its workers.
    """
    found = {name: found for name, found in studies_in(url).items() if name != NAME}
    published = {name: each for name, each in found.items() if "plan" in each and not each.get(DONE)}
    ours = (name for name, found in published.items() if version_of(found["identity"]) == SCHEMA[VERSION])
    return sorted(published.keys() & {wanted} if wanted else ours)


def serve(url: str, wanted: str | None, data: Path | None, wait: float, console: Console) -> int:
    """Works on the open studies of a database, one after the other, until none is left.

    Args:
        url: the database.
        wanted: the name of the one study to work on; None for all.
        data: the path of the data on this machine.
        wait: for so many seconds the first study may appear.
        console: shows what is done.

    Returns: the number of trials.

    Raises:
        StudyError: the database cannot be reached, or the data of this machine are others.
    """
    trained = 0
    try:
        while name := _await_study(url, wanted, wait, console):
            wait = 0.0
            with tempfile.TemporaryDirectory() as folder:
                store = _patiently(partial(Store.join, Path(folder), url, name))
                try:
                    dataset, plan = _patiently(partial(problem_of, store, data))
                    console.print(f"{name}: working on {dataset.name}", soft_wrap=True)
                    for trial in Worker(store, dataset, plan).work():
                        trained += 1
                        said = trial.failed or f"{trial.loss:.4g}"
                        console.print(f"{trial.configuration.label}, seed {trial.seed}: {said}", soft_wrap=True)
                finally:
                    store.close()
    except KeyboardInterrupt:
        console.print(f"Stopped after {counted(trained, 'trial')}. Other workers train what this one has begun.")
        raise
    return trained


def _await_study(url: str, wanted: str | None, wait: float, console: Console) -> str | None:
    """Returns the name of an open study; None if for `wait` seconds there is none."""
    begun, told = time.monotonic(), not wait
    if not missing_file(url):
        studies_in(url)  # a wrong URL is refused at once; a connection that is lost later is tried again
    while True:
        names = [] if missing_file(url) else _patiently(lambda: open_studies(url, wanted))
        if names:
            return names[0]
        if time.monotonic() - begun >= wait:
            refuse_missing(url)
            return None
        if not told:
            console.print(f"Waiting up to {wait:g} s for a study in {shown(url)}", soft_wrap=True)
            told = True
        time.sleep(PAUSE)


def _patiently(action: Callable[[], T]) -> T:
    """Repeat an action while the database cannot be reached."""
    for _ in range(TRIES):
        try:
            return action()
        except (*LOST, UnreachableError):
            time.sleep(PAUSE)
    return action()


def statuses(url: str) -> list[dict[str, Any]]:
    """Returns for every study in a database what is done, by which workers, and what is left. The database stays as it is.

    A study of another version of the store has its version alone.

    Raises:
        StudyError: the database cannot be reached, or has no file.
    """
    published = {name: found for name, found in studies_in(url).items() if "plan" in found}
    return [_status(url, name, attributes) for name, attributes in sorted(published.items())]


def _status(url: str, name: str, attributes: dict[str, Any]) -> dict[str, Any]:
    file, version = attributes["asked"]["file"] or "digits", version_of(attributes["identity"])
    about = {"study": name, "data": file, "done": bool(attributes.get(DONE)), "version": version}
    if version != SCHEMA[VERSION]:
        return about
    with tempfile.TemporaryDirectory() as folder, closing(Store.join(Path(folder), read_only(url), name)) as store:
        trials = store.records.trials().values()
        failed = [trial for trial in trials if trial.failed]
        return about | {
            "trials": len(trials),
            "of": trials_in_all(restored(attributes), attributes["seeds"]),
            "failed": len(failed),
            **store.queue.counts(),
            "workers": [{"worker": each, "trials": count, "last": last} for each, count, last in store.records.workers()],
            "failures": [trial.configuration._asdict() | {"seed": trial.seed, "reason": trial.failed} for trial in failed],
        }


def print_status(console: Console, found: list[dict[str, Any]]) -> None:
    """Prints a line for each study, for each of its workers, and for each trial that failed."""
    if not found:
        raise StudyError("--storage", "the database must hold a study", "none", "Start one with thinnet study --storage.")
    ours = [each for each in found if each["version"] == SCHEMA[VERSION]]
    names = ("study", "data", "trials", "of", "failed", "waiting", "running")
    rows = [(*(str(each[name]) for name in names), "yes" if each["done"] else "") for each in ours]
    if rows:
        console.print(Table((*names, "done"), rows))
    for each in ours:
        for worker in each["workers"]:
            console.print(f"{each['study']} · {worker['worker']}: {counted(worker['trials'], 'trial')}, last {worker['last']}")
        for failure in each["failures"]:
            *key, seed, reason = failure.values()
            console.print(f"{each['study']} · {Configuration(*key).label}, seed {seed} failed: {reason}", soft_wrap=True)
    if any(each["failed"] for each in ours):
        console.print("Once the cause is mended, the command that began a study trains them again with --retry-failed.")
    for each in found:
        if each not in ours:
            theirs = f"{each['study']} · a study of version {each['version']} of the store"
            console.print(f"{theirs}; this version of thinnet reads {SCHEMA[VERSION]}.", soft_wrap=True)
