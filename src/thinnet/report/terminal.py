"""Prints a result: with Rich on a terminal, and as plain text elsewhere, where a row of a table must stay one line."""

import sys

from rich.console import Console


def show(result: object) -> None:
    """Prints something that has both forms, such as a table.

    >>> show("text")
    text
    """
    console = Console()
    if console.is_terminal:
        console.print(result)
    else:
        sys.stdout.write(f"{result}\n")
