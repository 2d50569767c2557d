"""Tests and benchmarks on a machine that has a GPU: `make gpu`, or `python3 -m benchmarks.on_gpu --out DIR` without set-up.

It needs PyTorch, Triton, pytest and hypothesis, no network and no virtual environment. It builds the extension in place unless
one that loads is there, then runs each part under its own time limit, the most important first, and all of them within
`--limit` seconds. DIR/log.txt gets what the parts print, and DIR/*.json the figures, after every row.

The exit status is 0 where all parts passed, 1 where one failed, 2 where there is no GPU, 3 where a time limit cut a part short.
`--rehearse` runs all of it without a GPU, at tiny sizes, with the kernels in Triton's interpreter.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROBE = "import sys, torch; from thinnet import ops; sys.exit(10 * torch.cuda.is_available() + 20 * (ops.why() is None))"
NO_TESTS = 5  # what pytest returns where none of the chosen tests is left for a process
TESTS = ["-W", "ignore", "-m", "pytest", "tests/gpu", "-v", "--tb=short", "--show-capture=no", "-p", "no:cacheprovider"]
PARTS: dict[str, tuple[int, list[str]]] = {  # seconds at most, and the command after the interpreter
    "build": (60, ["setup.py", "--quiet", "build_ext", "--inplace"]),
    "tests": (80, TESTS),
    "attention": (30, ["-m", "benchmarks.gpu_attention"]),
    "steps": (60, ["-m", "benchmarks.gpu_steps"]),
    "example": (20, ["examples/compiled_cuda_dropout.py"]),
    "parts": (35, ["-m", "benchmarks.gpu_parts"]),
    "noise": (30, ["-m", "benchmarks.gpu"]),
}


def environment(out: Path, rehearse: bool) -> dict[str, str]:
    """Returns the environment of a part."""
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    found = os.environ | {"PYTHONPATH": path, "THINNET_RESULTS": str(out)}
    return found | ({"THINNET_REHEARSE": "1", "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""} if rehearse else {})


def probe(environment: dict[str, str]) -> tuple[bool, bool]:
    """Returns whether there is a GPU, and whether there is an extension that this PyTorch loads."""
    code = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True).returncode
    return code in (10, 30), code in (20, 30)


def run(name: str, limit: float, command: list[str], out: Path, environment: dict[str, str], processes: int) -> tuple[str, str]:
    """Runs one part, its tests dealt to several processes; returns "passed", "failed" or "time limit", and what it printed."""
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
    printed = "".join(path.read_text(errors="replace") for path in logs)
    for path in logs:
        path.unlink()
    return next((state for state in ("failed", "time limit") if state in states), "passed"), printed


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


def run_all(
    names: list[str], tests: str | None, out: Path, environment: dict[str, str], limit: float, patience: int
) -> dict[str, tuple[str, str]]:
    """Runs parts in order while time is left, and logs them; returns the state of each, and what it printed."""
    end, found = time.monotonic() + patience * limit, {}
    with (out / "log.txt").open("w") as log:
        for name in names:
            own, command = PARTS[name]
            command = command + (["-k", tests] if name == "tests" and tests else [])
            processes = min(14, os.cpu_count() or 1) if name == "tests" else 1  # most of the time goes to compilers
            start = time.monotonic()
            seconds = min(patience * own, end - start)
            state, printed = run(name, seconds, command, out, environment, processes) if seconds > 5 else ("time limit", "")
            found[name] = state, printed
            print(f"{name}: {state} ({time.monotonic() - start:.0f} s)", flush=True)
            print(f"== {name}: {state}\n{printed}", file=log, flush=True)
    return found


def summary(name: str, state: str, printed: str) -> str:
    """Returns what a part came to: the lines that name failures, and its last lines."""
    lines, marks = printed.splitlines(), ("FAILED", "ERROR", "E   ", "Error:", "Killed")
    shown = [line for line in lines if line.startswith(marks)][:25] if state != "passed" else []
    return "\n".join(line[:300] for line in (f"\n== {name}: {state}", *shown, *lines[-14:]))


def status(states: set[str]) -> int:
    """Returns the exit status for the states of the parts."""
    return 1 if "failed" in states else 3 if "time limit" in states else 0


def main() -> int:
    """Runs the parts and prints a summary; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.on_gpu", description="Runs the tests and benchmarks that need a GPU.")
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), help="the folder of the log and the figures")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS), help="the parts to run")
    parser.add_argument("--tests", metavar="EXPRESSION", help="run the tests whose names match, as pytest's -k")
    parser.add_argument("--limit", type=float, default=235, help="seconds for all parts together")
    parser.add_argument("--rehearse", action="store_true", help="run tiny sizes without a GPU, to find mistakes early")
    options = parser.parse_args()
    out, around = options.out.resolve(), environment(options.out.resolve(), options.rehearse)
    has_gpu, loads = probe(around)
    if not has_gpu and not options.rehearse:
        print("benchmarks.on_gpu: this machine has no GPU that PyTorch can use. Rehearse with --rehearse.", file=sys.stderr)
        return 2
    chosen = [name for name in PARTS if name in options.only and not (name == "build" and loads)]
    out.mkdir(parents=True, exist_ok=True)
    found = run_all(chosen, options.tests, out, around, options.limit, 20 if options.rehearse else 1)
    for name, (state, printed) in found.items():
        print(summary(name, state, printed))
    return status({state for state, _ in found.values()})


if __name__ == "__main__":
    sys.exit(main())
