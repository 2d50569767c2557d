"""Tests and benchmarks on a machine that has a GPU: `make gpu`, or `python3 -m benchmarks.on_gpu --out DIR` without set-up.

It needs PyTorch, Triton, pytest and hypothesis, no network and no virtual environment. It builds the extension in place, then
runs each part under its own time limit, the most important first. What a part prints goes to DIR/PART.log, and figures to
DIR/*.json as they come. The exit status is 0 where all parts passed, 1 where one failed, 2 where there is no GPU.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS: dict[str, tuple[int, list[str]]] = {  # seconds at most, and the command after the interpreter
    "build": (60, ["setup.py", "--quiet", "build_ext", "--inplace"]),
    "tests": (110, ["-m", "pytest", "tests/gpu", "-vv", "--tb=short", "-p", "no:cacheprovider", "--durations=15"]),
    "noise": (50, ["-m", "benchmarks.gpu"]),
    "steps": (90, ["-m", "benchmarks.gpu_steps"]),
}
REHEARSAL = {
    "tests": ["-m", "pytest", "tests/gpu", "-q", "--collect-only"],
    "steps": ["-m", "benchmarks.gpu_steps", "--rehearse"],
}


def run(name: str, limit: int, command: list[str], out: Path) -> str:
    """Runs one part; returns "passed", "failed" or "time limit"."""
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    with (out / f"{name}.log").open("w") as log:
        start = [sys.executable, *command]
        part = subprocess.Popen(start, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": path})
        try:
            return "passed" if part.wait(limit) == 0 else "failed"
        except subprocess.TimeoutExpired:
            part.terminate()
            try:
                part.wait(10)
            except subprocess.TimeoutExpired:
                part.kill()
            return "time limit"


def plugins() -> list[str]:
    """Returns pytest's options for the plugins at hand: several processes, as most of the time goes to compilers."""
    options = ["-n", str(min(12, os.cpu_count() or 1))] if find_spec("xdist") else []
    return options + (["--benchmark-disable"] if find_spec("pytest_benchmark") else [])


def failures(log: Path) -> list[str]:
    """Returns the lines of a log that name failures."""
    marks = ("FAILED", "ERROR", "E   ", "Error:", "Killed")
    return [line[:200] for line in log.read_text(errors="replace").splitlines() if line.startswith(marks)][:25]


def main() -> int:
    """Runs the parts and prints a summary; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.on_gpu", description="Runs the tests and benchmarks that need a GPU.")
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), help="the folder of logs and figures")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS), help="the parts to run")
    parser.add_argument("--rehearse", action="store_true", help="run tiny sizes without a GPU, to find mistakes early")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, str] = {}
    for name, (limit, command) in PARTS.items():
        if name not in options.only or (options.rehearse and name not in REHEARSAL):
            continue
        command = REHEARSAL[name] if options.rehearse else command + (plugins() if name == "tests" else [])
        start = time.perf_counter()
        found[name] = run(name, 10 * limit if options.rehearse else limit, command, options.out)
        print(f"{name}: {found[name]} ({time.perf_counter() - start:.0f} s)", flush=True)
        for file in (ROOT / "benchmarks" / "results").glob("gpu*.json"):
            shutil.copy(file, options.out)
    for name, state in found.items():
        lines = (options.out / f"{name}.log").read_text(errors="replace").splitlines()
        shown = failures(options.out / f"{name}.log") if state != "passed" else []
        print(f"\n== {name}: {state}", *(shown or []), *[line[:200] for line in lines[-12:]], sep="\n")
    return int(any(state != "passed" for state in found.values()))


if __name__ == "__main__":
    sys.exit(main())
