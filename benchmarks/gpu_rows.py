"""Rows measured one after the other: each is written and printed as it comes, and one that fails does not stop the others."""

import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import torch

import thinnet
from benchmarks import device
from benchmarks.measure import write

Rows = list[dict[str, Any]]
UNITS = {"milliseconds": "ms", "microseconds": "us"}


def line(row: dict[str, Any]) -> str:
    """Returns the times of a row as ratios to the first of them, and what else the row says."""
    unit = next(name for name in UNITS if name in row)
    (first, floor), *others = row[unit].items()
    ratios = ", ".join(f"{name} {value / floor:.3f}x" for name, value in others)
    rest = ", ".join(f"{name} {value}" for name, value in row.items() if name not in UNITS and not isinstance(value, str))
    return f"{first} {floor:.4g} {UNITS[unit]}; {ratios}" + (f"; {rest}" if rest else "")


def run(file: str, cases: Iterable[tuple[str, Callable[[], Rows]]]) -> int:
    """Measures cases in order and writes benchmarks/results/FILE.json after each; returns the exit status.

    The status is 0 where all cases were measured, 1 where one failed, 2 where there is no GPU.
    """
    if reason := device.missing or (None if device.REHEARSE else thinnet.ops.why("cuda")):
        print(f"benchmarks: {reason}. Rehearse with `python -m benchmarks.on_gpu --rehearse`.", file=sys.stderr)
        return 2
    rows: Rows = []
    failed = 0
    for name, measure in cases:
        start = time.perf_counter()
        try:
            found = measure()
        except Exception as error:  # the other rows are worth having
            failed += 1
            traceback.print_exc(limit=-4, file=sys.stdout)
            print(f"FAILED {name}: {type(error).__name__}: {str(error)[:500]}", flush=True)
            continue
        finally:
            if not device.REHEARSE:
                torch.cuda.empty_cache()
        rows += found
        write(file, rows)
        took = f"({time.perf_counter() - start:.0f} s)"
        for row in found:
            print(f"{name}: {line(row)} {took}", flush=True)
    return int(failed > 0)
