"""Runs the benchmarks, writes benchmarks/results/ and prints the tables: `python -m benchmarks [noise|step|methods ...]`."""

import sys
from collections.abc import Callable

import torch
from rich.console import Console

from benchmarks import (
    attention,
    attention_memory,
    fused,
    inference,
    methods,
    noise,
    recurrent,
    scale,
    step,
    tables,
    thin,
    units,
)
from benchmarks.measure import write

BENCHMARKS: dict[str, Callable[[], list[dict[str, object]]]] = {
    "noise": noise.rows,
    "step": step.rows,
    "attention": attention.rows,
    "attention_memory": attention_memory.rows,
    "fused": fused.rows,
    "memory": noise.memory,
    "methods": methods.rows,
    "scale": scale.rows,
    "units": units.rows,
    "recurrent": recurrent.rows,
    "thin": thin.rows,
    "inference": inference.rows,
}


def main(names: list[str]) -> int:
    """Runs the named benchmarks, or all of them; returns the exit status."""
    unknown = set(names) - BENCHMARKS.keys()
    if unknown:
        print(f"benchmarks: names must be among {', '.join(BENCHMARKS)}; got {', '.join(sorted(unknown))}.", file=sys.stderr)
        return 2
    torch.set_num_threads(2)
    for name in names or BENCHMARKS:
        Console(stderr=True).print(f"running {name} ...")
        write(name, BENCHMARKS[name]())
        print(tables.TABLES[name](), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
