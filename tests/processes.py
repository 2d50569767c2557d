"""Real processes for tests: bounded in time, and gone afterwards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import thinnet

TESTS = Path(__file__).parent
SOURCES = Path(thinnet.__file__).parent.parent  # workers test the package that this process tests


def environment() -> dict[str, str]:
    """The environment of a worker: one thread, this process's package and the test helpers on the path."""
    path = os.pathsep.join((str(TESTS), str(SOURCES)))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "TORCH_CPP_LOG_LEVEL": "ERROR"}


def answer_ctrl_c() -> None:
    """Undoes, in a new process, what a shell does to a background job: it ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def python(script: Path, *arguments: object) -> subprocess.Popen[str]:
    """Starts a script."""
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def assert_torchrun(ranks: int, script: Path, *arguments: object) -> None:
    """Every rank of a script ends well, and in time; what they printed is shown where not."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", str(script)]
    command += [str(argument) for argument in arguments]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        out, _ = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun then ends its ranks
        out, _ = process.communicate(timeout=45)
        raise AssertionError(f"{script.name} on {ranks} ranks took more than 150 s\n{out}") from None
    assert process.returncode == 0, out
