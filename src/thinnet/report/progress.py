"""One progress line on a terminal, and nothing anywhere else."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

PATIENCE = 2.0  # seconds before the line appears
ESTIMATE_OVER = 600.0  # seconds that the estimate of the time left looks back
T = TypeVar("T")


class Progress:
    """Counts finished work and shows the count on stderr once the work has taken two seconds.

    Args:
        title: what is being done.
        total: how much there is; 0 where that is unknown.
        done: how much was finished before.
        shown: whether to show the line; None shows it on a terminal only.
    """

    def __init__(self, title: str, total: int, done: int = 0, shown: bool | None = None) -> None:
        self.title, self.total, self.done, self.start = title, total, done, time.monotonic()
        self.wanted = sys.stderr.isatty() if shown is None else shown
        self.line: Any = None

    def advance(self, by: int = 1, news: str = "") -> None:
        """Add finished work; `news` stands at the end of the line."""
        self.done += by
        waited = time.monotonic() - self.start > PATIENCE
        if self.line is None and self.wanted and waited and self.done != self.total:
            self.line = _line(self.title, self.total, self.done - by)
            self.wanted = self.line is not None
        if self.line is not None:
            self.line.update(self.line.task_ids[0], completed=self.done, news=news)

    def close(self) -> None:
        """Take the line away."""
        if self.line is not None:
            self.line.stop()


@contextmanager
def progressing(title: str, total: int, done: int = 0, shown: bool | None = None) -> Iterator[Progress]:
    """Show how far the work in the block is; the arguments are those of `Progress`."""
    progress = Progress(title, total, done, shown)
    try:
        yield progress
    finally:
        progress.close()


def tracked(things: Iterable[T], title: str, total: int, shown: bool | None = None) -> Iterator[T]:
    """Yield the things and show how many are done.

    >>> list(tracked([1, 2], "work", 2, shown=False))
    [1, 2]
    """
    with progressing(title, total, shown=shown) as progress:
        for thing in things:
            yield thing
            progress.advance()


def _line(title: str, total: int, done: int) -> Any:
    try:
        from rich import progress as parts
        from rich.console import Console
    except ImportError:  # Rich is an extra, and the work does not need the line
        return None
    columns = (
        parts.TextColumn("{task.description}"),
        parts.BarColumn(),
        parts.MofNCompleteColumn(),
        parts.TimeElapsedColumn(),
        parts.TextColumn("· left"),
        parts.TimeRemainingColumn(),
        parts.TextColumn("{task.fields[news]}"),
    )
    line = parts.Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=ESTIMATE_OVER)
    line.add_task(title, total=total or None, completed=done, news="")
    line.start()
    return line
