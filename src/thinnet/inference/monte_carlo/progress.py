"""How far a long run is: a line on a terminal, and nothing anywhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 2.0  # seconds in which nothing is shown


class Progress:
    """Counts work that is done, and shows it once it has taken a while.

    Args:
        total: how much there is.
        shown: whether a line may be shown; None for on a terminal only.
    """

    def __init__(self, total: int, shown: bool | None) -> None:
        self.total, self.done, self.start = total, 0, time.monotonic()
        self.wanted = sys.stderr.isatty() if shown is None else shown
        self.line: Any = None

    def advance(self, by: int) -> None:
        """Adds what was done."""
        self.done += by
        if self.line is None and self.wanted and self.done < self.total and time.monotonic() - self.start > PATIENCE:
            self.line = _line(self.total)
            self.wanted = self.line is not None
        if self.line is not None:
            self.line.update(self.line.task_ids[0], completed=self.done)


def _line(total: int) -> Any:
    try:
        from rich.console import Console
        from rich.progress import Progress as Line
    except ImportError:  # it is an extra, and a run without a line is as good
        return None
    line = Line(console=Console(stderr=True), transient=True)
    line.add_task("draws", total=total)
    line.start()
    return line


@contextmanager
def progressing(total: int, shown: bool | None) -> Iterator[Progress]:
    """Shows how far a run is, and takes the line away at its end."""
    progress = Progress(total, shown)
    try:
        yield progress
    finally:
        if progress.line is not None:
            progress.line.stop()
