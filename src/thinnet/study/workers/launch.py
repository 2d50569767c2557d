"""Ways to start workers: processes of this machine, Ray, and Slurm. All of them run the same loop."""

import multiprocessing
import os
import signal
import threading
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from thinnet.study.data.dataset import Dataset
from thinnet.study.design.configuration import TrialKey
from thinnet.study.design.plan import Plan, StudyError
from thinnet.study.workers.store import Store
from thinnet.study.workers.work import Worker

UNKNOWN = -1
"""In place of the number of a configuration before the first trial of a process."""


class Workers(Protocol):
    """Workers that run while a context is open."""

    def __enter__(self) -> "Workers": ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
    def check(self) -> None:
        """Raise where a worker that must live is dead."""
        ...

    def running(self) -> dict[TrialKey, int]:
        """Return the finished epochs of the trials that run, as far as they are known here."""
        ...


class Processes:
    """Worker processes, which end with this process even when it is killed.

    Args:
        number: of processes.
        store: the store that they join.
        data: the dataset.
        plan: the settings.
    """

    def __init__(self, number: int, store: Store, data: Dataset, plan: Plan) -> None:
        self.number, self.arguments = number, (store.folder, store.url, store.name, data, plan)
        self._processes: list[BaseProcess] = []
        self._slots: list[Any] = []

    def __enter__(self) -> "Processes":
        context = multiprocessing.get_context("spawn")
        lifeline, self._held = context.Pipe(duplex=False)
        self._slots = [context.RawArray("q", [UNKNOWN, 0, 0]) for _ in range(self.number)]
        self._processes = [context.Process(target=_serve, args=(lifeline, slot, *self.arguments)) for slot in self._slots]
        resource_tracker.ensure_running()  # its start would unblock SIGINT
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
        try:
            for process in self._processes:
                process.start()  # with SIGINT blocked: this process answers Ctrl-C
        finally:
            if before is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        lifeline.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._held.close()
        for process in self._processes:
            process.terminate()  # one that still imports PyTorch does not watch the lifeline yet
        for process in self._processes:
            process.join()

    def check(self) -> None:
        """Raise if a process has ended early.

        Raises:
            StudyError: it was killed, or its code raised an error, which it has printed.
        """
        if any(process.exitcode for process in self._processes):
            advice = "Run the same command again with fewer --jobs; finished trials are not lost."
            raise StudyError("--jobs", "every process must live to the end", "one that was killed", advice)

    def running(self) -> dict[TrialKey, int]:
        """Return the finished epochs of the last trial of each process."""
        configurations, found = self.arguments[-1].configurations, {}
        for number, seed, epochs in self._slots:
            if number != UNKNOWN:
                found[TrialKey(configurations[number], seed)] = epochs
        return found


def _serve(lifeline: Connection, slot: Any, folder: Path, url: str, name: str, data: Dataset, plan: Plan) -> None:
    """Work on a study until it is done, or until the parent, which alone keeps the other end of the lifeline open, ends.

    `slot` is memory that the parent reads: the number of the configuration, the seed, and the finished epochs.
    """

    def watch(key: TrialKey, epochs: int) -> None:
        slot[:] = (plan.configurations.index(key.configuration), key.seed, epochs)

    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    store = Store.join(folder, url, name)
    for _ in Worker(store, data, plan, watch).work():
        pass
    store.close()


def _end_with(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()  # nothing is ever sent
    except EOFError:
        os._exit(0)
