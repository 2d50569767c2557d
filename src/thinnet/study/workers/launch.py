"""Ways to start workers: processes of this machine, Ray, and Slurm. All of them run the same loop."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
        """Returns the finished epochs of the trials that run, as far as they are known here."""
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
        self.number, self.where, self.problem = number, (store.folder, store.url, store.name), (data, plan)
        self._processes: list[BaseProcess] = []
        self._slots: list[Any] = []

    def __enter__(self) -> "Processes":
        context = multiprocessing.get_context("spawn")
        lifeline, self._held = context.Pipe(duplex=False)
        pipes = [context.Pipe(duplex=False) for _ in range(self.number)]
        self._slots = [context.RawArray("q", [UNKNOWN, 0, 0]) for _ in pipes]
        parts = [(lifeline, source, slot, *self.where) for (source, _), slot in zip(pipes, self._slots, strict=True)]
        self._processes = [context.Process(target=_serve, args=part) for part in parts]
        sending = threading.Thread(target=_send, args=([sink for _, sink in pipes], pickle.dumps(self.problem)), daemon=True)
        resource_tracker.ensure_running()  # its start would unblock SIGINT
        try:
            with _sigint_blocked():  # the children inherit it: this process answers Ctrl-C
                for process in self._processes:
                    process.start()
            sending.start()
        except BaseException:  # also a Ctrl-C that waited until here: without this, they would train on
            self._end()
            raise
        finally:
            for end in (lifeline, *(source for source, _ in pipes)):
                end.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        """End the processes at once, also those that still import; a trial that one of them has claimed expires."""
        self._held.close()
        started = [process for process in self._processes if process.pid is not None]
        for process in started:
            process.terminate()
        for process in started:
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
        """Returns the finished epochs of the last trial of each process."""
        configurations, found = self.problem[1].configurations, {}
        for number, seed, epochs in self._slots:
            if number != UNKNOWN:
                found[TrialKey(configurations[number], seed)] = epochs
        return found


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT, where the system can; a Ctrl-C of this time is raised at the end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(sinks: Sequence[Connection], content: bytes) -> None:
    """Send the data and the plan to each process: among its arguments they would let its start wait for its imports."""
    for sink in sinks:
        with suppress(OSError), sink:  # a process that has ended reads nothing
            sink.send_bytes(content)


def _serve(lifeline: Connection, source: Connection, slot: Any, folder: Path, url: str, name: str) -> None:
    """Works on a study until it is done, or until the parent, which alone keeps the other end of the lifeline open, ends.

    `source` gives the data and the plan. `slot` is memory that the parent reads: the number of the configuration, the seed, and
    the finished epochs.
    """

    def watch(key: TrialKey, epochs: int) -> None:
        slot[:] = (plan.configurations.index(key.configuration), key.seed, epochs)

    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    data, plan = pickle.loads(source.recv_bytes())
    store = Store.join(folder, url, name)
    for _ in Worker(store, data, plan, watch).work():
        pass
    store.close()


def _end_with(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()  # nothing is ever sent
    except EOFError:
        os._exit(0)
