"""One table of plain data: as text, in Rich and as HTML."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from thinnet.report.formatting import NO_BREAK, cell, filled, unbroken

NUMBER = re.compile(r"[-+\u2212±]?\d|-$")  # a lone dash stands for a missing number
LONG_WORD = 24
"""A longer word is folded where the columns need the room."""
STYLES = {"strong": "bold", "alarm": "bold red", "quiet": "dim"}


@dataclass(frozen=True)
class Table:
    """Rows of plain data. `str` gives text, Rich prints it, and notebooks show HTML.

    A column whose cells all start with a number is aligned to the right; the first column is always aligned to the left.

    Args:
        head: the names of the columns.
        rows: text, numbers or None; a float is shown with three significant digits.
        title: the heading.
        meaning: one sentence on what the numbers mean.
        notes: sentences below the table.
        marks: "strong", "alarm" or "quiet" for the row at a position.

    >>> print(Table(("rate", "loss"), [("0.1", 0.25), ("0.5", 12.0)]))
    rate  loss
    0.1   0.25
    0.5     12
    """

    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    meaning: str = ""
    notes: Sequence[str] = ()
    marks: Mapping[int, str] = field(default_factory=dict)

    def cells(self) -> list[list[str]]:
        """Returns the rows as text."""
        return [[cell(value) for value in row] for row in self.rows]

    def __str__(self) -> str:
        lines = [list(self.head), *([text.replace("\n", ", ") for text in row] for row in self.cells())]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        right = self._right()
        text = [self.title + (f": {self.meaning}" if self.meaning else "")] if self.title else []
        for line in lines if self.rows else []:
            padded = [
                value.rjust(width) if number in right else value.ljust(width)
                for number, (value, width) in enumerate(zip(line, widths, strict=True))
            ]
            text.append("  ".join(padded).rstrip())
        return "\n".join([*text, *(f"note: {note}" for note in self.notes)])

    def html(self) -> str:
        """Returns the table as an HTML fragment; the title and the notes are part of it."""
        right = self._right()

        def line(values: Sequence[str], tag: str, mark: str = "") -> str:
            cells = (
                f'<{tag} style="text-align: {"right" if number in right else "left"}">{_lines(value)}</{tag}>'
                for number, value in enumerate(values)
            )
            return f"<tr{f' class={mark!r}' if mark else ''}>{''.join(cells)}</tr>"

        caption = f"<b>{_sentence(self.title)}</b> {_sentence(self.meaning)}".strip()
        head = f"<thead>{line(self.head, 'th')}</thead>"
        body = "".join(line(row, "td", self.marks.get(number, "")) for number, row in enumerate(self.cells()))
        table = f"<table>{head}<tbody>{body}</tbody></table>" if self.rows else ""
        notes = "".join(f"<p><small>{escape(note)}</small></p>" for note in self.notes)
        return (f"<p>{caption}</p>" if self.title else "") + table + notes

    _repr_html_ = html

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.text import Text

        title = Text.assemble((self.title, "bold"), f"  {self.meaning}" if self.meaning else "")
        least = self._least()
        spare = options.max_width - sum(least) - 2 * len(least) + 1
        yield from [title] if self.title else []
        if self.rows:
            yield from [self._grid(self._widths(least, spare))] if spare >= 0 else self._stacked(options.max_width)
        yield from (Text(filled(f"note: {note}", options.max_width), style="dim") for note in self.notes)

    def _least(self) -> list[int]:
        """Returns the least width of each column: a number and a word stay whole, if the word is not very long."""
        right, lines = self._right(), [list(self.head), *self.cells()]
        return [
            max(map(len, column)) if number in right else min(max(map(_longest_word, column)), LONG_WORD)
            for number, column in enumerate(zip(*lines, strict=True))
        ]

    def _widths(self, least: list[int], spare: int) -> list[int]:
        """Returns the width of each column: its least one, and an equal part of the spare room as far as it needs it."""
        columns = zip(list(self.head), *self.cells(), strict=True)
        wanted = [max(len(line) for text in column for line in text.split("\n")) for column in columns]
        widths = list(least)
        while spare > 0 and (narrow := [number for number, width in enumerate(widths) if width < wanted[number]]):
            for number in narrow[:spare]:
                widths[number] += 1
            spare -= len(narrow)
        return widths

    def _grid(self, widths: list[int]) -> Any:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as Grid
        from rich.text import Text

        right = self._right()
        grid = Grid(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        for number, name in enumerate(self.head):
            side = "right" if number in right else "left"
            grid.add_column(Text(name), justify=side, no_wrap=number in right, overflow="fold", width=widths[number])
        for number, row in enumerate(self.cells()):
            cells = (Text(text) if column in right else _Cell(text) for column, text in enumerate(row))
            grid.add_row(*cells, style=STYLES.get(self.marks.get(number, "")))
        return grid

    def _stacked(self, width: int) -> Iterator[Any]:
        """Yields each row as a paragraph, for a console that is too narrow for the columns."""
        from rich.text import Text

        for number, (first, *others) in enumerate(self.cells()):
            style = STYLES.get(self.marks.get(number, ""), "")
            yield Text(first, style=style)
            named = zip(self.head[1:], others, strict=True)
            pairs = [f"{name} {value}" for name, value in named if value.strip("-")]
            whole = [each.replace(" ", NO_BREAK) if len(each) + 4 <= width else each for each in pairs]
            yield Text(filled(" · ".join(whole), width, indent="  "), style=style)

    def _right(self) -> set[int]:
        columns = list(zip(*self.cells(), strict=True))[1:]
        return {
            number
            for number, column in enumerate(columns, 1)
            if any(column) and all(NUMBER.match(value) for value in column if value)
        }


class _Cell:
    """Text of a column that may be narrower: `p = 0.5` stays on one line, and a long name is broken behind a separator."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.text import Text

        width = options.max_width
        folded = (" ".join(_folded(word, width) for word in line.split(" ")) for line in self.lines)
        yield Text("\n".join(filled(line, width) for line in folded), overflow="fold")


class Tabular:
    """A result that lists its tables gets its text, its Rich form and its HTML for notebooks from them.

    A dataclass has `repr=False`: what a session shows is the text.
    """

    def tables(self) -> list[Table]:
        """Returns the result as tables of plain data."""
        raise NotImplementedError

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables()))

    def __repr__(self) -> str:
        return str(self)

    def __rich__(self) -> Any:
        from rich.console import Group

        return Group(*(part for table in self.tables() for part in (table, "")))

    def _repr_html_(self) -> str:
        return "\n".join(table.html() for table in self.tables())


def _longest_word(text: str) -> int:
    return max(map(len, re.split(r"[ \n]", unbroken(text))))


def _folded(word: str, width: int) -> str:
    """Puts a space behind separators of a word, such as dots, so that no part is longer than the width if it can be."""
    parts = [""]
    for piece in re.split(r"(?<=[._+/])", word):
        parts[len(parts) :] = [""] if parts[-1] and len(parts[-1] + piece) > width else []
        parts[-1] += piece
    return " ".join(parts)


def _sentence(text: str) -> str:
    return escape(unbroken(text[:1].upper() + text[1:]))


def _lines(text: str) -> str:
    return escape(unbroken(text)).replace("\n", "<br>")
