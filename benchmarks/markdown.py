"""A result file read, and a table of Markdown written."""

import json
from typing import Any

from benchmarks.measure import RESULTS


def load(name: str) -> dict[str, Any]:
    """Returns a result file."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


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
