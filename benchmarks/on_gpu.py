"""Tests and benchmarks on a machine that has a GPU: `make gpu`, or `python3 -m benchmarks.on_gpu --out DIR` without set-up.

It needs PyTorch, Triton, pytest and hypothesis, no network and no virtual environment. It builds the extension in place unless
one that loads is there, then runs each part under its own time limit, the most important first. What a part prints goes to
DIR/PART.log, and figures to DIR/*.json as they come. The exit status is 0 where all parts passed, 1 where one failed.
`--rehearse` runs all of it without a GPU, at tiny sizes, with the kernels in Triton's interpreter.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOADS = "import sys; from thinnet import ops; sys.exit(ops.why() is not None)"
QUIET = "--tb=short", "--show-capture=no", "-p", "no:cacheprovider"
NO_TESTS = 5  # what pytest returns where none of the chosen tests is left for a process
PARTS: dict[str, tuple[int, list[str]]] = {  # seconds at most, and the command after the interpreter
    "build": (60, ["setup.py", "--quiet", "build_ext", "--inplace"]),
    "tests": (
        110,
        ["-W", "ignore", "-m", "pytest", "tests/gpu", "-v", "--tb=short", "--show-capture=no", "-p", "no:cacheprovider"],
    ),
    "noise": (40, ["-m", "benchmarks.gpu"]),
    "steps": (90, ["-m", "benchmarks.gpu_steps"]),
}


def environment(out: Path, rehearse: bool) -> dict[str, str]:
    """Returns the environment of a part."""
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    found = os.environ | {"PYTHONPATH": path}
    if rehearse:
        found |= {"THINNET_REHEARSE": "1", "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "THINNET_RESULTS": str(out)}
    return found


def loads(environment: dict[str, str]) -> bool:
    """Returns whether an extension is there that this PyTorch loads."""
    return subprocess.run([sys.executable, "-c", LOADS], env=environment, capture_output=True).returncode == 0


def run(name: str, limit: int, command: list[str], out: Path, environment: dict[str, str], processes: int) -> str:
    """Runs one part, its tests dealt to several processes; returns "passed", "failed" or "time limit"."""
    end = time.monotonic() + limit
    logs = [out / f"{name}.{i}.log" for i in range(processes)]
    parts = []
    for i, path in enumerate(logs):
        with path.open("w") as log:
            around = environment | {"THINNET_SHARD": f"{i}/{processes}"}
            parts.append(
                subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=around)
            )
    states = {stopped(part, end) for part in parts}
    (out / f"{name}.log").write_text("".join(path.read_text(errors="replace") for path in logs))
    for path in logs:
        path.unlink()
    return next((state for state in ("time limit", "failed") if state in states), "passed")


def stopped(part: subprocess.Popen[bytes], end: float) -> str:
    """Waits for a process until a time, then ends it; returns its state."""
    try:
        return "passed" if part.wait(max(0.1, end - time.monotonic())) in (0, NO_TESTS) else "failed"
    except subprocess.TimeoutExpired:
        part.terminate()
        try:
            part.wait(10)
        except subprocess.TimeoutExpired:
            part.kill()
        return "time limit"


def failures(log: Path) -> list[str]:
    """Returns the lines of a log that name failures."""
    marks = ("FAILED", "ERROR", "E   ", "Error:", "Killed")
    return [line[:200] for line in log.read_text(errors="replace").splitlines() if line.startswith(marks)][:25]


def main() -> int:
    """Runs the parts and prints a summary; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.on_gpu", description="Runs the tests and benchmarks that need a GPU.")
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), help="the folder of logs and figures")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS), help="the parts to run")
    parser.add_argument("--tests", metavar="EXPRESSION", help="run the tests whose names match, as pytest's -k")
    parser.add_argument("--rehearse", action="store_true", help="run tiny sizes without a GPU, to find mistakes early")
    options = parser.parse_args()
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    around, found = environment(out, options.rehearse), {}
    for name, (limit, command) in PARTS.items():
        if name not in options.only or (name == "build" and loads(around)):
            continue
        command = command + (["-k", options.tests] if name == "tests" and options.tests else [])
        processes = min(14, os.cpu_count() or 1) if name == "tests" else 1  # most of the time goes to compilers
        start = time.perf_counter()
        found[name] = run(name, 20 * limit if options.rehearse else limit, command, out, around, processes)
        print(f"{name}: {found[name]} ({time.perf_counter() - start:.0f} s)", flush=True)
        for file in () if options.rehearse else (ROOT / "benchmarks" / "results").glob("gpu*.json"):
            shutil.copy(file, out)
    for name, state in found.items():
        lines = (out / f"{name}.log").read_text(errors="replace").splitlines()
        shown = failures(out / f"{name}.log") if state != "passed" else []
        print(f"\n== {name}: {state}", *shown, *[line[:200] for line in lines[-12:]], sep="\n")
    return int(any(state != "passed" for state in found.values()))


if __name__ == "__main__":
    sys.exit(main())
