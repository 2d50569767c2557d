"""Real processes for tests: bounded in time, and gone afterwards.

Most are forked from a server that has imported PyTorch, thinnet and what a study needs: imports take longer than the tests.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

import torch.distributed as dist

import thinnet

TESTS = Path(__file__).parent
SOURCES = Path(thinnet.__file__).parent.parent  # workers test the package that this process tests
PATIENCE = 150.0
PRELOADED = [
    "pytest",
    "torch._dynamo",
    "torch.distributed.fsdp",
    "torch.distributed.tensor.parallel",
    "thinnet.cli",
    "thinnet.study.study",
    "thinnet.study.workers.serve",
]


def environment() -> dict[str, str]:
    """The environment of a worker: one thread, this process's package and the test helpers on the path."""
    path = os.pathsep.join((str(TESTS), str(SOURCES)))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "TORCH_CPP_LOG_LEVEL": "ERROR"}


def answer_ctrl_c() -> None:
    """Undoes, in a new process, what a shell does to a background job: it ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Forked:
    """A process that calls a function, with a part of the interface of `subprocess.Popen`.

    Args:
        function: called with the arguments, in a module that can be imported.
        arguments: of the function.
        variables: the environment.
        together: whether errors go to stdout.
    """

    def __init__(
        self, function: Callable, *arguments: Any, variables: dict[str, str] | None = None, together: bool = False
    ) -> None:
        context = _server()
        pipes = [context.Pipe(duplex=False) for _ in range(1 if together else 2)]
        ends = [write for _, write in pipes]
        self._process = context.Process(target=_child, args=(ends, variables or environment(), function, arguments))
        self._process.start()
        for end in ends:
            end.close()
        streams = [os.fdopen(os.dup(read.fileno()), encoding="utf-8", errors="replace") for read, _ in pipes]
        self.stdout: TextIO = streams[0]
        self.stderr: TextIO | None = None if together else streams[1]
        self.pid: int = self._process.pid  # type: ignore[assignment]
        atexit.register(self.kill)

    @property
    def returncode(self) -> int | None:
        """The exit code; minus the number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0)
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Read all output, and wait for the end."""
        streams = [each for each in (self.stdout, self.stderr) if each is not None]
        with ThreadPoolExecutor(2) as pool:
            read = [pool.submit(each.read) for each in streams]
            try:
                self.wait(timeout)
            except BaseException:
                self.kill()
                raise
            out, *errors = (each.result(timeout) for each in read)
        return out, "".join(errors)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            if self.returncode is None:
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()


def _server() -> Any:
    context = multiprocessing.get_context("forkserver")
    if forkserver._forkserver._forkserver_pid is None:  # OpenMP and PyTorch read the environment when they are imported
        forkserver.set_forkserver_preload(PRELOADED)
        before = dict(os.environ)
        os.environ.update(environment())
        try:
            forkserver.ensure_running()
        finally:
            os.environ.clear()
            os.environ.update(before)
    return context


def _child(ends: list[Connection], variables: dict[str, str], function: Callable, arguments: tuple) -> None:
    """Become a process as a shell starts it: with the streams and the variables of its own."""
    for number, end in zip((1, 2), (ends[0], ends[-1]), strict=True):
        os.dup2(end.fileno(), number)
    for end in ends:
        end.close()
    sys.stdout, sys.stderr = (os.fdopen(os.dup(each), "w", encoding="utf-8", buffering=1) for each in (1, 2))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(variables)
    answer_ctrl_c()
    function(*arguments)


def run_thinnet(constants: dict[str, dict[str, Any]], *arguments: str) -> None:
    """Run `thinnet`, after constants of its modules have got other values."""
    from thinnet.__main__ import main

    for module, values in constants.items():
        __import__(module)
        vars(sys.modules[module]).update(values)
    sys.argv = ["thinnet", *arguments]
    main()


def run_script(script: Path, *arguments: str) -> None:
    """Run a script."""
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")


def run_module(folder: Path, module: str, *arguments: str) -> None:
    """Run a module in a folder, as `python -m` does."""
    os.chdir(folder)
    sys.argv = [module, *arguments]
    sys.path.insert(0, str(folder))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def python(script: Path, *arguments: object) -> Forked:
    """Starts a script."""
    return Forked(run_script, script, *map(str, arguments), together=True)


@contextmanager
def ranks_of(size: int, function: Callable, *arguments: Any, together: bool = False) -> Iterator[list[Forked]]:
    """Processes with the variables that `torchrun` gives its ranks, which end with the context."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun's agent has it
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(size)}
    common |= {"LOCAL_WORLD_SIZE": str(size), "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    places = [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]
    ranks = [Forked(function, *arguments, variables=environment() | place, together=together) for place in places]
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.kill()


def assert_ranks(size: int, script: Path, *arguments: object) -> None:
    """Every rank of a script ends well, and in time; what they printed is shown where not."""
    with ranks_of(size, run_script, script, *map(str, arguments), together=True) as ranks, ThreadPoolExecutor(size) as pool:
        read = [pool.submit(rank.stdout.read) for rank in ranks]
        deadline = time.monotonic() + PATIENCE
        while any(rank.returncode is None for rank in ranks) and not any(rank.returncode for rank in ranks):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        codes = [rank.returncode for rank in ranks]
        for rank in ranks:
            rank.kill()
        assert codes == [0] * size, f"{script.name} on {size} ranks: {codes}\n" + "".join(each.result() for each in read)
