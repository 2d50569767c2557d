"""Room for code that is nested deeply."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

STACK = 512 * 1024 * 1024  # bytes of address space, not of memory; the parser takes up to 8 KB of it a level
DEPTH = 50_000


def with_room(task: Callable[[], Result]) -> Result:
    """Runs a task on a large stack: LibCST's parser recurses natively, and overflowing the usual one ends the process.

    Args:
        task: what to run; its exceptions come through.

    Returns:
        What the task returns.
    """
    depth, size = sys.getrecursionlimit(), threading.stack_size(STACK)
    sys.setrecursionlimit(DEPTH)
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(task).result()
    finally:
        sys.setrecursionlimit(depth)
        threading.stack_size(size)
