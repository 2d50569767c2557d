"""All files, side by side: a text search first, the cache second, and only then a parser."""

import gc
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from thinnet.lint.cache import Cache, key
from thinnet.lint.engine import Unreadable, check, mend, worth
from thinnet.lint.files import decode
from thinnet.lint.finding import Finding
from thinnet.lint.rule import Rule
from thinnet.lint.rules import REGISTRY
from thinnet.lint.settings import Settings

ALONE = 400_000  # bytes that one process has read before a second has started


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Args:
        path: the file.
        findings: what was found.
        trouble: why it was passed over.
        mended: how many findings were fixed in the file itself.
    """

    path: Path
    findings: tuple[Finding, ...] = ()
    trouble: str | None = None
    mended: int = 0


@dataclass(frozen=True)
class Job:
    """A file to parse, with the codes of the rules that could find something in it; `fix` is None, safe or unsafe."""

    path: Path
    codes: tuple[str, ...]
    fix: str | None
    size: int


def lint(paths: Sequence[Path], settings: Settings, cache: Cache, fix: str | None, jobs: int) -> list[Outcome]:
    """Looks at files.

    Args:
        paths: the files.
        settings: which rules.
        cache: what is known already.
        fix: `safe` or `unsafe` to mend files in place.
        jobs: processes at most.

    Returns:
        One outcome a file, in their order.
    """
    rules = settings.rules()
    done: dict[Path, Outcome] = {}
    pending: dict[Path, tuple[str, Job]] = {}
    for path in paths:
        found = _known(path, rules, settings, cache, fix)
        if isinstance(found, Outcome):
            done[path] = found
        else:
            pending[path] = found
    queue = sorted((job for _, job in pending.values()), key=lambda job: -job.size)
    for outcome in spread(work, queue, jobs):
        name = pending[outcome.path][0]
        if fix is None:
            cache.put(name, {"findings": [found.to_json() for found in outcome.findings], "trouble": outcome.trouble})
        done[outcome.path] = outcome
    cache.save()
    return [without_ignored(done[path], settings) for path in paths]


def _known(path: Path, rules: list[Rule], settings: Settings, cache: Cache, fix: str | None) -> Outcome | tuple[str, Job]:
    try:
        data = path.read_bytes()
    except OSError as error:
        return Outcome(path, trouble=(error.strerror or "it cannot be read").lower())
    wanted = worth(rules, data)
    if not wanted:
        return Outcome(path)
    name = key(data, path.suffix)
    kept = cache.get(name)
    if kept is not None:
        findings = tuple(Finding.from_json(values) for values in kept["findings"])
        if not (fix and any(found.edits for found in findings)):
            return Outcome(path, findings, kept["trouble"])
    ignored = settings.ignored_in(path) if fix else []
    codes = tuple(rule.code for rule in wanted if not rule.code.startswith(tuple(ignored)))
    return name, Job(path, codes, fix, len(data))


def work(job: Job) -> Outcome:
    """Parses one file; this runs in any process."""
    rules = [rule for rule in REGISTRY if rule.code in job.codes]
    gc.disable()  # a tree is freed by its reference count; to look for cycles while it grows costs a quarter of the time
    try:
        text, encoding = decode(job.path.read_bytes())
        mended = 0
        if job.fix:
            new, mended = mend(text, rules, job.path.suffix, unsafe=job.fix == "unsafe")
            if new != text:
                job.path.write_bytes(new.encode(encoding))
            text = new
        return Outcome(job.path, tuple(check(text, rules, job.path.suffix)), None, mended)
    except (Unreadable, OSError) as error:
        return Outcome(job.path, trouble=str(error))
    finally:
        gc.enable()


def spread(task: Callable[[Job], Outcome], queue: list[Job], jobs: int) -> Iterator[Outcome]:
    """Yields the outcome of each job, from several processes if there is enough to do."""
    if jobs == 1 or sum(job.size for job in queue) < ALONE:
        yield from map(task, queue)
        return
    with ProcessPoolExecutor(min(jobs, len(queue)), initializer=_leave_interrupts) as pool:
        try:
            yield from pool.map(task, queue)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _leave_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent takes Ctrl-C and ends the pool


def without_ignored(outcome: Outcome, settings: Settings) -> Outcome:
    """Returns an outcome without what the settings ignore in that file."""
    ignored = tuple(settings.ignored_in(outcome.path))
    kept = tuple(found for found in outcome.findings if not found.code.startswith(ignored))
    return replace(outcome, findings=kept)


def cores() -> int:
    """Returns the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
