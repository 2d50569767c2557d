"""Checks many files in parallel: a word search and the cache come first, then the parser."""

import gc
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thinnet.lint.cache import Cache, content_key
from thinnet.lint.engine import UnreadableSource, applicable_rules, check, fix
from thinnet.lint.files import decode
from thinnet.lint.rule import LintRule
from thinnet.lint.rules import REGISTRY
from thinnet.lint.settings import Settings
from thinnet.report.findings import Edit, Finding, Location

ONE_PROCESS_BYTES = 400_000  # one process reads this much in the time that a second needs to start


@dataclass(frozen=True)
class FileResult:
    """The result of one file.

    Args:
        path: the file.
        findings: what was found.
        error: why the file was skipped.
        fixed: how many findings were fixed in the file.
    """

    path: Path
    findings: tuple[Finding, ...] = ()
    error: str | None = None
    fixed: int = 0


@dataclass(frozen=True)
class Job:
    """A file to parse.

    Args:
        path: the file.
        codes: the codes of the rules to apply.
        fixes: the fixes to apply: None, "safe" or "unsafe".
        size: the number of bytes.
        preview: also report what is less certain.
    """

    path: Path
    codes: tuple[str, ...]
    fixes: str | None
    size: int
    preview: bool


def lint_files(paths: Sequence[Path], settings: Settings, cache: Cache, fixes: str | None, jobs: int) -> list[FileResult]:
    """Checks files.

    Args:
        paths: the files.
        settings: the rules to apply.
        cache: the results of earlier runs.
        fixes: "safe" or "unsafe" writes these fixes into the files; None writes nothing.
        jobs: the largest number of processes.

    Returns:
        One result a file, in the order of `paths`.
    """
    rules = settings.rules()
    done: dict[Path, FileResult] = {}
    pending: dict[Path, tuple[str, Job]] = {}
    for path in paths:
        found = _known_result(path, rules, settings, cache, fixes)
        if isinstance(found, FileResult):
            done[path] = found
        else:
            pending[path] = found
    queue = sorted((job for _, job in pending.values()), key=lambda job: -job.size)
    for result in run_jobs(lint_file, queue, jobs):
        if fixes is None:
            entry = {"findings": [finding.as_dict() for finding in result.findings], "error": result.error}
            cache.put(pending[result.path][0], entry)
        done[result.path] = result
    cache.save()
    return [without_ignored(done[path], settings) for path in paths]


def _known_result(
    path: Path, rules: list[LintRule], settings: Settings, cache: Cache, fixes: str | None
) -> FileResult | tuple[str, Job]:
    """Returns the result of a file that needs no parser, or else its cache key and its job."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return FileResult(path, error=(error.strerror or "it cannot be read").lower())
    wanted = applicable_rules(rules, data)
    if not wanted:
        return FileResult(path)
    key = content_key(data, path.suffix)
    entry = cache.get(key)
    if entry is not None:
        findings = tuple(_restored(values, str(path)) for values in entry["findings"])
        if not (fixes and any(finding.edits for finding in findings)):
            return FileResult(path, findings, entry["error"])
    ignored = settings.ignored_in(path) if fixes else []
    codes = tuple(rule.code for rule in wanted if not rule.code.startswith(tuple(ignored)))
    return key, Job(path, codes, fixes, len(data), settings.preview)


def _restored(values: dict[str, Any], path: str) -> Finding:
    (rule,) = (rule for rule in REGISTRY if rule.code == values["code"])
    location = Location(path, *(values[name] for name in ("line", "column", "end_line", "end_column", "cell")))
    edits = tuple(Edit(**edit) for edit in values["edits"])
    cause = Location(**values["cause"] | {"path": path}) if values["cause"] else None
    return Finding(rule.definition, "", location, values["message"], edits=edits, safe=values["safe"], cause=cause)


def lint_file(job: Job) -> FileResult:
    """Parses one file, in any process."""
    rules = [rule for rule in REGISTRY if rule.code in job.codes]
    path = str(job.path)
    gc.disable()  # reference counts free a tree; searching for cycles while it grows costs a quarter of the time
    try:
        text, encoding = decode(job.path.read_bytes(), job.path.suffix)
        fixed = 0
        if job.fixes:
            new, fixed = fix(text, rules, path, unsafe=job.fixes == "unsafe", preview=job.preview)
            if new != text:
                job.path.write_bytes(new.encode(encoding))
            text = new
        return FileResult(job.path, tuple(check(text, rules, path, job.preview)), None, fixed)
    except (UnreadableSource, OSError) as error:
        return FileResult(job.path, error=str(error))
    finally:
        gc.enable()


def run_jobs(task: Callable[[Job], FileResult], queue: list[Job], jobs: int) -> Iterator[FileResult]:
    """Yields the result of each job, from several processes if there is enough to do."""
    if jobs == 1 or sum(job.size for job in queue) < ONE_PROCESS_BYTES:
        yield from map(task, queue)
        return
    with ProcessPoolExecutor(min(jobs, len(queue)), initializer=_ignore_interrupts) as pool:
        try:
            yield from pool.map(task, queue)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and stops the pool


def without_ignored(result: FileResult, settings: Settings) -> FileResult:
    """Returns a result without the findings that the settings ignore in that file."""
    ignored = tuple(settings.ignored_in(result.path))
    kept = tuple(finding for finding in result.findings if not finding.rule.code.startswith(ignored))
    return replace(result, findings=kept)
