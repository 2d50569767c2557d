"""One progress line on a terminal; where a tool asks for it, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from thinnet.report.formatting import duration

PATIENCE = 2.0  # seconds before the line appears
ESTIMATE_OVER = 600.0  # seconds that the estimate of the time left looks back; the longest time between two lines of a log
T = TypeVar("T")


class Progress:
    """Shows how much work is finished on stderr, once it has taken two seconds.

    Args:
        title: what is being done.
        total: how much there is; 0 where that is unknown.
        done: how much was finished before.
        shown: whether to show the line; None shows it on a terminal only.
        log: takes a line of text where none is shown, first after two seconds, then each time that the work has taken twice as
            long, and at least every ten minutes.
    """

    def __init__(
        self, title: str, total: int, done: int = 0, shown: bool | None = None, log: Callable[[str], None] | None = None
    ) -> None:
        self.title, self.total, self.before, self.start = title, total, done, time.monotonic()
        self.done: float = done
        self.wanted = sys.stderr.isatty() if shown is None else shown
        self.line: Any = None
        self.log, self.due = log, PATIENCE

    def advance(self, by: int = 1, news: str = "") -> None:
        """Adds finished work; `news` stands at the end of the line."""
        self.reach(self.done + by, news)

    def reach(self, done: float, news: str = "") -> None:
        """Says how much is finished; a fraction is a part of the next piece."""
        before, self.done = self.done, done
        waited = time.monotonic() - self.start
        if self.line is None and self.wanted and waited > PATIENCE and done != self.total:
            self.line = _line(self.title, self.total, before)
            self.wanted = self.line is not None
        if self.line is not None:
            self.line.update(self.line.task_ids[0], completed=done, news=news)
        elif self.log is not None and not self.wanted and waited > self.due and done != self.total:
            self.log(self._text(waited, news))
            self.due = waited + min(waited, ESTIMATE_OVER)

    def _text(self, waited: float, news: str) -> str:
        new = self.done - self.before
        left = f", about {duration(waited * (self.total - self.done) / new)} left" if new > 0 else ""
        return f"{self.title}: {int(self.done)} of {self.total} after {duration(waited)}{left}{news and f' {news}'}"

    def close(self) -> None:
        """Takes the line away."""
        if self.line is not None:
            self.line.stop()


@contextmanager
def progressing(
    title: str, total: int, done: int = 0, shown: bool | None = None, log: Callable[[str], None] | None = None
) -> Iterator[Progress]:
    """Shows how far the work in the block is; the arguments are those of `Progress`."""
    progress = Progress(title, total, done, shown, log)
    try:
        yield progress
    finally:
        progress.close()


def tracked(things: Iterable[T], title: str, total: int, shown: bool | None = None) -> Iterator[T]:
    """Yields the things and shows how many are done.

    >>> list(tracked([1, 2], "work", 2, shown=False))
    [1, 2]
    """
    with progressing(title, total, shown=shown) as progress:
        for thing in things:
            yield thing
            progress.advance()


def _line(title: str, total: int, done: float) -> Any:
    try:
        from rich import progress as parts
        from rich.console import Console
    except ImportError:  # Rich is an extra, and the work does not need the line
        return None
    console = Console(stderr=True)
    bar = min(max(console.width - 70, 8), 40)
    others = len(title) + bar + 2 * len(str(total)) + 1 + len("0:00:00 · left 0:00:00") + 5
    room = max(console.width - others, 0)  # Rich would shrink the other columns, down to nothing
    columns = (
        parts.TextColumn("{task.description}"),
        parts.BarColumn(bar),
        parts.MofNCompleteColumn(),
        parts.TimeElapsedColumn(),
        parts.TextColumn("· left"),
        parts.TimeRemainingColumn(),
        parts.TextColumn(f"{{task.fields[news]:.{room}}}"),
    )
    line = parts.Progress(*columns, console=console, transient=True, speed_estimate_period=ESTIMATE_OVER)
    line.add_task(title, total=total or None, completed=int(done), news="")
    line.start()
    return line
