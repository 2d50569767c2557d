"""The result of `calibrate`: rows of scores, and their paired differences."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thinnet.inference.calibration.panels import panels
from thinnet.inference.calibration.scorer import Row
from thinnet.inference.calibration.scores import LEVEL, Score
from thinnet.report.figure import draw, grid
from thinnet.report.page import document, write
from thinnet.report.table import Table, Tabular


@dataclass(frozen=True, repr=False)
class Calibration(Tabular):
    """The scores of several ways to predict on the test cases, before and after a fit on validation data.

    Args:
        rows: one per way to predict.
        kind: "logits" for labels, else "values".
        rates: the rate of each owner that the validation data chose, for `thinnet.set_rates`; empty without a refit.
        curve: the validation NLL of each candidate for the rate.
        cases: the number of test cases.
        notes: limits of these scores.
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
        """Returns the score of row `name` minus that of row `other`, with the interval of the paired difference.

        Args:
            name, other: names of rows.
            of: the name of the score.
        """
        return self[name].scores[of] - self[other].scores[of]

    def tables(self) -> list[Table]:
        """Returns the scores as one table."""
        head = ["", *self.rows[0].scores, "fitted"]
        return [
            Table(head, [[row.name, *map(_cell, row.scores.values()), _fitted(row)] for row in self.rows], notes=self.notes)
        ]

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
        """Returns a Plotly figure: reliability, error against coverage, and validation NLL against the rate.

        Raises:
            ImportError: Plotly is not installed.
        """
        made = panels(self.rows, self.kind, self.curve)
        others = [replace(panel, traces=[trace | {"showlegend": False} for trace in panel.traces]) for panel in made[1:]]
        spec = grid([made[0], *others], columns=len(made))
        spec["layout"] |= {"legend": {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"}}
        return draw(spec, "Calibration.picture")

    def html(self, path: str | Path) -> Path:
        """Writes the panels and the table as one self-contained page, and returns its path.

        Raises:
            ImportError: Plotly or Jinja2 is not installed.
        """
        made = panels(self.rows, self.kind, self.curve)
        return write(Path(path), document("Calibration", user="Calibration.html", panels=made, tables=self.tables()))


def _cell(score: Score) -> str:
    return f"{_number(score.value)} [{_number(score.low)}, {_number(score.high)}]"


def _fitted(row: Row) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in row.fitted.items())


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}" if abs(value) >= 0.0995 else f"{value:.4f}"
