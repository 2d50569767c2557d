"""A bar for what takes long, on a terminal."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def counted(things: Iterable[T], title: str, total: int, shown: bool = True) -> Iterator[T]:
    """Gives what it is given, with a bar on the terminal; without one where `rich` is not installed or nobody looks.

    Args:
        things: what is gone through.
        title: in front of the bar.
        total: how many there are; 0 where that is not known.
        shown: whether there is a bar at all.

    >>> list(counted([1, 2], "work", 2, shown=False))
    [1, 2]
    """
    if not shown or not sys.stderr.isatty():
        yield from things
        return
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError:
        yield from things
        return
    yield from track(things, title, total or None, console=Console(stderr=True), transient=True)
