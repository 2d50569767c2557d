"""Mutation testing of the core: tests must fail for small faults in `ops/`, `rng/` and `methods/call.py`.

`pip install cosmic-ray`, then `python -m benchmarks.quality.mutants --count 200 --seed 0 --jobs 2`. It works on copies of the
source tree. benchmarks/results/mutants.json lists every mutant that survives.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS, machine

ROOT = Path(__file__).parents[2]
MUTATED = ("src/thinnet/ops", "src/thinnet/rng", "src/thinnet/methods/call.py")
FIRST = {  # the tests that are about a file come first; a run stops at the first failure
    "ops/triton/": "tests/test_triton.py",
    "ops/take": "tests/thin/test_take.py",
    "ops/dtensor": "tests/distributed/test_splits.py tests/test_pytorch.py",
    "ops/": "tests/test_bits.py tests/test_backends.py",
    "rng/schedule": "tests/test_schedules.py src/thinnet/rng/schedules.py",
    "rng/placing": "tests/test_schedules.py src/thinnet/rng/placing.py",
    "rng/sample_ids": "tests/test_sample_ids.py",
    "rng/c": "tests/test_call_counter.py tests/test_rng.py",
    "rng/": "tests/test_rng.py src/thinnet/rng tests/test_schedules.py",
    "methods/": "tests/test_drop_in.py tests/test_schedules.py",
}
ALL = (
    "tests/test_bits.py tests/test_rng.py tests/test_drop_in.py tests/test_schedules.py src/thinnet/rng src/thinnet/ops",
    "tests/test_call_counter.py tests/test_backends.py tests/test_pytorch.py tests/thin/test_take.py tests/thin/test_units.py",
    "tests/test_triton.py tests/test_sample_ids.py tests/distributed/test_splits.py tests/distributed/test_recomputed.py",
    "tests/test_invariants.py tests/test_independence.py tests/test_normal.py",
)
COSMIC_RAY = [sys.executable, "-m", "cosmic_ray.cli"]


def prepared(folder: Path, count: int, seed: int, part: int, parts: int) -> Path:
    """Makes a copy of the tree with a session of every `parts`-th mutant of the sample; returns the copy."""
    tree = folder / f"tree{part}"
    tree.mkdir()
    for name in ("src", "tests", "docs", "benchmarks", "examples", "pyproject.toml"):
        source = ROOT / name
        shutil.copytree(source, tree / name) if source.is_dir() else shutil.copy(source, tree)
    pytest = f"{sys.executable} -m pytest -x -q -p no:cacheprovider"
    cases = "\n".join(f"  *{part}*) {pytest} {files} ;;" for part, files in FIRST.items())
    changed = f"changed=$(diff -rq -x __pycache__ src/thinnet {ROOT}/src/thinnet | grep differ | head -1)"
    steps = "\n".join(f"{pytest} {files}" for files in ALL)
    (tree / "run_tests.sh").write_text(f'set -e\n{changed} || true\ncase "$changed" in\n{cases}\nesac\n{steps}\n')
    config = {"module-path": list(MUTATED), "timeout": 600.0, "test-command": "bash run_tests.sh"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in config.items()]
    text = "\n".join(["[cosmic-ray]", *lines, "excluded-modules = []", "[cosmic-ray.distributor]", 'name = "local"'])
    (tree / "mutants.toml").write_text(text)
    _run(tree, None, "init", "mutants.toml", "mutants.sqlite")
    with sqlite3.connect(tree / "mutants.sqlite") as session:
        columns = "job_id, module_path, start_pos_row, start_pos_col, operator_name, occurrence"
        every = session.execute(f"select {columns} from mutation_specs where operator_name not like '%_BitOr_%'")
        jobs = sorted(every, key=lambda row: row[1:])  # `|` stands in annotations, where any other operator is an import error
        chosen = {row[0] for row in random.Random(seed).sample(jobs, min(count, len(jobs)))[part::parts]}
        for (job,) in session.execute("select job_id from mutation_specs").fetchall():
            if job not in chosen:
                session.execute("delete from mutation_specs where job_id = ?", (job,))
                session.execute("delete from work_items where job_id = ?", (job,))
    return tree


def check_baseline(tree: Path) -> None:
    """Raises where the tests fail without a mutant: then every mutant would seem to be found."""
    _run(tree, None, "baseline", "mutants.toml")


def _run(tree: Path, seconds: float | None, *arguments: str) -> None:
    path = os.pathsep.join((str(tree / "src"), str(tree), os.environ.get("PYTHONPATH", "")))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CI": ""}
    run = subprocess.Popen(
        [*COSMIC_RAY, *arguments], cwd=tree, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        status = run.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        return
    if status:
        raise RuntimeError(f"cosmic-ray {arguments[0]} failed with status {status}; run it in {tree} to see why.")


def outcomes(tree: Path) -> list[dict[str, Any]]:
    """Returns what became of each mutant of a session."""
    query = """select s.module_path, s.start_pos_row, s.operator_name, r.test_outcome, r.worker_outcome, r.diff
               from mutation_specs s join work_results r on s.job_id = r.job_id"""
    with sqlite3.connect(tree / "mutants.sqlite") as session:
        rows = session.execute(query).fetchall()
    return [
        {"file": file, "line": line, "operator": operator, "outcome": _plain(outcome or worker), "difference": _changed(diff)}
        for file, line, operator, outcome, worker, diff in rows
    ]


def _plain(outcome: str) -> str:
    return str(outcome).rpartition(".")[2].lower()


def _changed(diff: str | None) -> list[str]:
    return [line for line in (diff or "").splitlines() if re.match(r"[+-](?![+-])", line)]


def main() -> int:
    """Runs the mutants and writes the result; the exit status is 0 whatever survives."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.quality.mutants", description="Runs the tests of the core on mutants of it."
    )
    parser.add_argument("--count", type=int, default=200, help="how many mutants are drawn")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--jobs", type=int, default=2, help="copies that run next to each other")
    parser.add_argument("--minutes", type=float, default=120, help="stop after this long; the rest counts as not run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trees = [prepared(Path(folder), options.count, options.seed, part, options.jobs) for part in range(options.jobs)]
        check_baseline(trees[0])
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda tree: _run(tree, 60 * options.minutes, "exec", "mutants.toml", "mutants.sqlite"), trees))
        found = [each for tree in trees for each in outcomes(tree)]
    summary = dict(Counter(each["outcome"] for each in found)) | {"not run": options.count - len(found)}
    command = f"python -m benchmarks.quality.mutants --count {options.count} --seed {options.seed}"
    survivors = sorted((each for each in found if each["outcome"] == "survived"), key=lambda each: (each["file"], each["line"]))
    result = {"command": command, "machine": machine(), "outcomes": summary, "survivors": survivors}
    (RESULTS / "mutants.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{summary}; see benchmarks/results/mutants.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
