"""What `calibrate` returns: rows of scores, as a table, a picture, a page, and paired differences."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinnet.inference.calibration.reliability import Row
from thinnet.inference.calibration.scores import LEVEL, Score


@dataclass(frozen=True)
class Calibration:
    """Ways to predict, judged on the test cases before and after a fit on validation data.

    Args:
        rows: one a way to predict.
        kind: "logits" of labels, "values" else.
        rates: the rate of each owner that the validation data chose; for `thinnet.set_rates`. Empty where none was refit.
        curve: the validation NLL of each candidate for the rate.
        cases: how many test cases there were.
        notes: what a reader should know beside.
    """

    rows: tuple[Row, ...]
    kind: str
    rates: dict[str, float]
    curve: dict[float, float]
    cases: int
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"calibrate: a row must be one of {', '.join(row.name for row in self.rows)}; got {name!r}.")

    def difference(self, name: str, other: str, of: str = "NLL") -> Score:
        """Returns the score of one row less that of another, with the interval of the paired difference.

        Args:
            name, other: of the rows.
            of: the name of the score.
        """
        return self[name].scores[of] - self[other].scores[of]

    def __str__(self) -> str:
        head = ["", *self.rows[0].scores, "fitted"]
        lines = [head, *([row.name, *map(_cell, row.scores.values()), _fitted(row)] for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
        return "\n".join([*text, *(f"# {note}" for note in self.notes)])

    def json(self) -> str:
        """Returns the rows as JSON, without curves."""
        rows = [
            {"name": row.name, "fitted": row.fitted}
            | {name: [score.value, score.low, score.high] for name, score in row.scores.items()}
            for row in self.rows
        ]
        found = {"kind": self.kind, "cases": self.cases, "level": LEVEL, "rows": rows, "rates": self.rates}
        return json.dumps(found | {"curve": self.curve, "notes": self.notes}, indent=1)

    def picture(self) -> Any:
        """Returns a Plotly figure: reliability, risk against coverage, and the validation NLL against the rate.

        Raises:
            ImportError: Plotly is not installed.
        """
        from thinnet.inference.calibration.calibration_picture import draw

        return draw(self)

    def html(self, path: str | Path) -> Path:
        """Writes the picture and the table as one page that needs no network; returns the path.

        Raises:
            ImportError: Plotly is not installed.
        """
        from thinnet.inference.calibration.calibration_picture import page

        return page(self, Path(path))


def _cell(score: Score) -> str:
    return f"{short(score.value)} [{short(score.low)}, {short(score.high)}]"


def _fitted(row: Row) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in row.fitted.items())


def short(value: float) -> str:
    """Returns a number in few digits.

    >>> short(0.01234), short(0.1234), short(123.4)
    ('0.0123', '0.123', '123')
    """
    return f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}" if abs(value) >= 0.0995 else f"{value:.4f}"
