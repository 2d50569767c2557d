"""The precision and the speed of `thinnet lint` on the source code of other packages.

    python -m benchmarks.lint FOLDER...    each folder is an installed or an unpacked package

Every finding was reviewed. `FALSE_POSITIVES` lists the wrong ones, for the versions in `REVIEWED`.
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
from thinnet.lint.run import FileResult, lint_files
from thinnet.lint.settings import Settings
from thinnet.report.machine import cores

RESULT = Path(__file__).parent / "results" / "lint.json"
REVIEWED = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "lightning": "2.6.6",
    "pytorch_lightning": "2.6.6",
    "skorch": "1.4.0",
    "peft": "0.21.2",
    "torch_geometric": "2.8.1",
}
# Files and codes. A comment says that dropout in eval mode is intended, or the model masks tokens as its task.
FALSE_POSITIVES = {
    ("modeling_esmfold2.py", "THN103"),
    ("modular_esmfold2.py", "THN103"),
    ("modeling_perceiver.py", "THN406"),
}


def version_of(folder: Path) -> str:
    """Returns the version of the installed distribution of a package."""
    found = sorted(folder.parent.glob(f"{folder.name}-*.dist-info"))
    return re.sub(r".*-([^-]+)\.dist-info", r"\1", found[0].name).partition("+")[0] if found else "unknown"


def seconds() -> float:
    """Returns the CPU time of this process and of its finished child processes."""
    times = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in times)


def timed(files: list[Path], settings: Settings, cache: Cache) -> tuple[list[FileResult], dict[str, float]]:
    """Checks files; returns the results, the elapsed seconds and the CPU seconds."""
    wall, processor = time.perf_counter(), seconds()
    results = lint_files(files, settings, cache, None, cores())
    return results, {"wall": round(time.perf_counter() - wall, 1), "processor": round(seconds() - processor, 1)}


def row(folder: Path, results: list[FileResult]) -> dict[str, object]:
    """Returns the true and false positives of a package by rule."""
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for result in results:
        for found in result.findings:
            code = found.rule.code
            (wrong if (result.path.name, code) in FALSE_POSITIVES else right)[code] += 1
    lines = sum(result.path.read_bytes().count(b"\n") for result in results)
    version, skipped = version_of(folder), [str(result.path.name) for result in results if result.error]
    reviewed = REVIEWED.get(folder.name) == version
    head = {"package": folder.name, "version": version, "reviewed": reviewed, "files": len(results), "lines": lines}
    return head | {"right": dict(sorted(right.items())), "wrong": dict(sorted(wrong.items())), "skipped": skipped}


def main(folders: list[Path]) -> None:
    """Measures and writes the result file."""
    settings = Settings(root=Path(), preview=True)
    sources = {folder: list(find([folder], settings)) for folder in folders}
    files = [path for paths in sources.values() for path in paths]
    kept = Path(tempfile.mkdtemp())
    try:
        results, cold = timed(files, settings, Cache(kept, settings.rules(), settings.preview))
        _, warm = timed(files, settings, Cache(kept, settings.rules(), settings.preview))
        size = sum(path.stat().st_size for path in (kept / FOLDER).iterdir())
    finally:
        shutil.rmtree(kept)
    at = {result.path: result for result in results}
    rows = [row(folder, [at[path] for path in paths]) for folder, paths in sources.items()]
    preview = [rule.code for rule in REGISTRY if rule.preview]
    head = {"cores": cores(), "cold_seconds": cold, "warm_seconds": warm, "cache_bytes": size, "preview": preview}
    RESULT.write_text(json.dumps(head | {"rows": rows}, indent=1) + "\n")


def precision() -> str:
    """Returns the table of docs/lint.md: the true and false positives of each package, and those of rules in preview."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
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
    """Returns the sentence on speed in docs/lint.md."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    lines = sum(one["lines"] for one in result["rows"])
    files = sum(one["files"] for one in result["rows"])
    cold, warm = (lines / result[f"{name}_seconds"]["wall"] * 60 / 1e6 for name in ("cold", "warm"))
    head = f"{files:,} files with {lines:,} lines on {result['cores']} cores"
    return f"{head}: {cold:.1f} M lines a minute without a cache, {warm:.0f} M with it."


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
