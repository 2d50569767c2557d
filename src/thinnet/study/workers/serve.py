"""`thinnet study work` and `thinnet study status`: a worker that can run anywhere, and what all of them have done."""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import optuna
from rich.console import Console

from thinnet.report.formatting import counted
from thinnet.report.table import Table
from thinnet.study.design.halving import trials_in_all
from thinnet.study.design.plan import StudyError
from thinnet.study.workers.problem import problem_of, restored
from thinnet.study.workers.records import LOST, PAUSE, TRIES
from thinnet.study.workers.sqlite import missing_file
from thinnet.study.workers.store import DONE, NAME, Store, UnreachableError, storage_at
from thinnet.study.workers.work import Worker

T = TypeVar("T")


def open_studies(url: str, wanted: str | None) -> list[str]:
    """Return the names of the studies in a database that are published and not done."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = storage_at(url)
    found = []
    for summary in optuna.get_all_study_summaries(storage=storage, include_best_trial=False):
        attributes = summary.user_attrs
        if summary.study_name.startswith(NAME) and "plan" in attributes and not attributes.get(DONE):
            found.append(summary.study_name)
    storage.close()
    return [name for name in sorted(found) if wanted in (None, name)]


def serve(url: str, wanted: str | None, data: Path | None, wait: float, console: Console) -> int:
    """Work on the open studies of a database, one after the other, until none is left.

    Args:
        url: the database.
        wanted: the name of the one study to work on; None for all.
        data: the path of the data on this machine.
        wait: for so many seconds a study may appear.
        console: shows what is done.

    Returns: the number of trials.

    Raises:
        StudyError: the database cannot be reached, or the data of this machine are others.
    """
    begun, trained = time.monotonic(), 0
    _await_file(url, wait)
    storage_at(url).close()  # a wrong URL is refused at once; a connection that is lost later is tried again
    while True:
        names = _patiently(lambda: open_studies(url, wanted))
        if not names:
            if trained or time.monotonic() - begun > wait:
                return trained
            time.sleep(1)
            continue
        with tempfile.TemporaryDirectory() as folder:
            store = _patiently(partial(Store.join, Path(folder), url, names[0]))
            try:
                dataset, plan = _patiently(partial(problem_of, store, data))
                console.print(f"{names[0]}: working on {dataset.name}", soft_wrap=True)
                for trial in Worker(store, dataset, plan).work():
                    trained += 1
                    console.print(f"{trial.configuration.label}, seed {trial.seed}: {trial.failed or f'{trial.loss:.4g}'}")
            finally:
                store.close()


def _await_file(url: str, wait: float) -> None:
    """Wait until the file of an SQLite database exists; whoever begins the study creates it."""
    begun = time.monotonic()
    while missing_file(url):
        if time.monotonic() - begun >= wait:
            _refuse_missing(url)
        time.sleep(PAUSE)
        if not missing_file(url):
            time.sleep(PAUSE)  # its tables are being created


def _refuse_missing(url: str) -> None:
    if file := missing_file(url):
        raise StudyError("--storage", "the file must exist", f"no {file}", "Start the study first, or correct the path.")


def _patiently(action: Callable[[], T]) -> T:
    """Repeat an action while the database cannot be reached."""
    for _ in range(TRIES):
        try:
            return action()
        except (*LOST, UnreachableError):
            time.sleep(PAUSE)
    return action()


def statuses(url: str) -> list[dict[str, Any]]:
    """Return for every study in a database what is done, by which workers, and what is left.

    Raises:
        StudyError: the database cannot be reached, or has no file.
    """
    return list(_each(url))


def _each(url: str) -> Iterator[dict[str, Any]]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _refuse_missing(url)
    storage = storage_at(url)
    names = [name for name in optuna.get_all_study_names(storage=storage) if name.startswith(NAME)]
    storage.close()
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted(names):
            store = Store.join(Path(folder), url, name)
            attributes = store.study.user_attrs
            if "plan" not in attributes:  # another process is creating it
                store.close()
                continue
            plan = restored(attributes)
            trials = store.records.trials().values()
            yield {
                "study": name,
                "data": attributes["asked"]["file"] or "digits",
                "done": bool(attributes.get(DONE)),
                "trials": len(trials),
                "of": trials_in_all(plan, attributes["seeds"]),
                "failed": sum(bool(trial.failed) for trial in trials),
                **store.queue.counts(),
                "workers": [{"worker": each, "trials": count, "last": last} for each, count, last in store.records.workers()],
            }
            store.close()


def print_status(console: Console, found: list[dict[str, Any]]) -> None:
    """Print a line for each study, and one for each of its workers."""
    if not found:
        raise StudyError("--storage", "the database must hold a study", "none", "Start one with thinnet study --storage.")
    names = ("study", "data", "trials", "of", "failed", "waiting", "running")
    console.print(
        Table((*names, "done"), [(*(str(each[name]) for name in names), "yes" if each["done"] else "") for each in found])
    )
    for each in found:
        for worker in each["workers"]:
            console.print(f"{each['study']} · {worker['worker']}: {counted(worker['trials'], 'trial')}, last {worker['last']}")
