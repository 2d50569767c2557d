"""What `thinnet lint` finds in the sources of other packages, how much of it is right, and how fast that is.

    python -m benchmarks.lint FOLDER...    a folder is the package of an installed distribution, or one that is unpacked

Every finding was looked at; `WRONG` names those that are none. The verdicts hold for the versions in `JUDGED`.
"""

import json
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.tables import table
from thinnet.lint.cache import FOLDER, Cache
from thinnet.lint.files import find
from thinnet.lint.rules import REGISTRY
from thinnet.lint.run import Outcome, cores, lint
from thinnet.lint.settings import Settings

RESULT = Path(__file__).parent / "results" / "lint.json"
JUDGED = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "lightning": "2.6.6",
    "pytorch_lightning": "2.6.6",
    "skorch": "1.4.0",
    "peft": "0.21.2",
    "torch_geometric": "2.8.1",
}
# A file and a code: the author says in a comment that dropout in eval is meant; masking tokens is the model's own task.
WRONG = {
    ("modeling_esmfold2.py", "THN103"),
    ("modular_esmfold2.py", "THN103"),
    ("modeling_perceiver.py", "THN406"),
}


def version_of(folder: Path) -> str:
    """Returns the version of the distribution that a package's folder belongs to."""
    found = sorted(folder.parent.glob(f"{folder.name}-*.dist-info"))
    return re.sub(r".*-([^-]+)\.dist-info", r"\1", found[0].name).partition("+")[0] if found else "unknown"


def seconds() -> float:
    """Returns the processor time of this process and of those that it waited for."""
    times = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in times)


def timed(files: list[Path], settings: Settings, cache: Cache) -> tuple[list[Outcome], dict[str, float]]:
    """Looks at files; returns what came of it, and the wall clock and processor seconds."""
    wall, processor = time.perf_counter(), seconds()
    outcomes = lint(files, settings, cache, None, cores())
    return outcomes, {"wall": round(time.perf_counter() - wall, 1), "processor": round(seconds() - processor, 1)}


def row(folder: Path, outcomes: list[Outcome]) -> dict[str, object]:
    """Returns the counts of a package: what is right and what is wrong, by rule."""
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for outcome in outcomes:
        for found in outcome.findings:
            (wrong if (outcome.path.name, found.code) in WRONG else right)[found.code] += 1
    lines = sum(outcome.path.read_bytes().count(b"\n") for outcome in outcomes)
    version, passed = version_of(folder), [str(outcome.path.name) for outcome in outcomes if outcome.trouble]
    looked_at = JUDGED.get(folder.name) == version
    head = {"package": folder.name, "version": version, "looked_at": looked_at, "files": len(outcomes), "lines": lines}
    return head | {"right": dict(sorted(right.items())), "wrong": dict(sorted(wrong.items())), "passed_over": passed}


def main(folders: list[Path]) -> None:
    """Measures, and writes the result file."""
    settings = Settings(root=Path(), preview=True)
    sources = {folder: list(find([folder], settings)) for folder in folders}
    files = [path for paths in sources.values() for path in paths]
    kept = Path(tempfile.mkdtemp())
    try:
        outcomes, cold = timed(files, settings, Cache(kept, settings.rules()))
        _, warm = timed(files, settings, Cache(kept, settings.rules()))
        size = sum(path.stat().st_size for path in (kept / FOLDER).iterdir())
    finally:
        shutil.rmtree(kept)
    at = {outcome.path: outcome for outcome in outcomes}
    rows = [row(folder, [at[path] for path in paths]) for folder, paths in sources.items()]
    preview = [rule.code for rule in REGISTRY if rule.preview]
    head = {"cores": cores(), "cold_seconds": cold, "warm_seconds": warm, "cache_bytes": size, "preview": preview}
    RESULT.write_text(json.dumps(head | {"rows": rows}, indent=1) + "\n")


def precision() -> str:
    """Returns the table of docs/lint.md: one row a package, true and false findings by rule, and those in preview apart."""
    result = json.loads(RESULT.read_text())
    rows = []
    for one in result["rows"]:
        cells = [f"{one['package']} {one['version']}", f"{one['lines']:,}"]
        for preview in (False, True):
            for counts in (one["right"], one["wrong"]):
                chosen = {code: number for code, number in counts.items() if (code in result["preview"]) == preview}
                cells.append(", ".join(f"{number} {code}" for code, number in chosen.items()) or "0")
        rows.append(cells)
    return table(["package", "lines", "true", "false", "true, in preview", "false, in preview"], rows)


def speed() -> str:
    """Returns the sentence on speed of docs/lint.md."""
    result = json.loads(RESULT.read_text())
    lines = sum(one["lines"] for one in result["rows"])
    files = sum(one["files"] for one in result["rows"])
    cold, warm = (lines / result[f"{name}_seconds"]["wall"] * 60 / 1e6 for name in ("cold", "warm"))
    head = f"{files:,} files with {lines:,} lines on {result['cores']} cores"
    return f"{head}: {cold:.1f} M lines a minute at first, {warm:.0f} M where nothing changed since."


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
