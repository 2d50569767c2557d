"""Runs a task on a large stack."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

STACK_BYTES = 512 * 1024 * 1024  # address space, not memory; the parser needs up to 8 KB for each level of nesting
RECURSION_LIMIT = 50_000


def with_large_stack(task: Callable[[], Result]) -> Result:
    """Runs a task on a large stack and returns its result.

    LibCST's parser recurses in native code: on the usual stack, deeply nested source code would crash the process.
    """
    limit, size = sys.getrecursionlimit(), threading.stack_size(STACK_BYTES)
    sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(task).result()
    finally:
        sys.setrecursionlimit(limit)
        threading.stack_size(size)
