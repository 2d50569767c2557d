"""The tables of the documentation, made from the result files and from nothing else."""

import json
from collections.abc import Callable
from typing import Any

from benchmarks.measure import RESULTS


def load(name: str) -> dict[str, Any]:
    """Returns a result file."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def table(head: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def times(value: float | None, floor: float) -> str:
    """Returns a ratio in few digits, or a blank."""
    if value is None:
        return ""
    ratio = value / floor
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.2f}x"


def toss() -> str:
    """Returns the ratios to relu of the same tensor, one row a size, dtype and pass."""
    rows = load("toss")["rows"]
    names = [name for name in rows[0]["microseconds"] if name != "relu"]
    body = [
        [row["elements"], row["dtype"], row["pass"], f"{row['microseconds']['relu']:.0f} µs"]
        + [times(row["microseconds"].get(name), row["microseconds"]["relu"]) for name in names]
        for row in rows
    ]
    return table(["elements", "dtype", "pass", "`relu`", *names], body)


def step() -> str:
    """Returns the ratios of a training step to the step without dropout."""
    rows = load("step")["rows"]
    names = [name for name in rows[0]["milliseconds"] if name != "no dropout"]
    body = [
        [str(row["batch"]), f"{row['milliseconds']['no dropout']:.1f} ms"]
        + [times(row["milliseconds"][name], row["milliseconds"]["no dropout"]) for name in names]
        for row in rows
    ]
    return table(["batch", "no dropout", *names], body)


def memory() -> str:
    """Returns the bytes an element that are kept for backward."""
    (row,) = load("memory")["rows"]
    return table(["kept for backward, bytes an element", *row], [["", *(f"{value:g}" for value in row.values())]])


def recurrent() -> str:
    """Returns the ratios of a recurrent layer's training step to PyTorch's layer, one row a layer and batch size."""
    body = [
        [name, str(row["batch"]), f"{value:.0f} ms", times(value, floor)]
        for row in load("recurrent")["rows"]
        for floor in [next(iter(row["milliseconds"].values()))]
        for name, value in row["milliseconds"].items()
    ]
    return table(["layer", "batch", "forward + backward", "PyTorch's = 1"], body)


def gpu() -> str:
    """Returns bandwidth, and ratios to a copy, of dropout on a GPU, one row a size, dtype and pass."""
    rows = load("gpu")["rows"]
    names = [name for name in rows[0]["microseconds"] if name != "copy"]
    body = [
        [row["elements"], row["dtype"], row["pass"], f"{row['microseconds']['copy']:.0f} µs", f"{row['GB/s']:.0f}"]
        + [f"{row['% of copy bandwidth']:.0f} %"]
        + [times(row["microseconds"][name], row["microseconds"]["copy"]) for name in names]
        for row in rows
    ]
    head = ["elements", "dtype", "pass", "copy", "thinnet, GB/s", "of copy bandwidth", *names]
    return table(head, body)


TABLES: dict[str, Callable[[], str]] = {"toss": toss, "step": step, "memory": memory, "recurrent": recurrent, "gpu": gpu}
