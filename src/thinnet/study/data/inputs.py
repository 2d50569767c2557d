"""What the columns of a table, or the pixels of arrays, become: inputs of the perceptron."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thinnet.study.data.columns import Column, read_as
from thinnet.study.data.files import read_rows, unique_names
from thinnet.study.design.plan import ENCODE, StudyError

MOST_CATEGORIES = 50
MISSING = "(missing)"
Rows = str | Path | pd.DataFrame | np.ndarray


@dataclass(frozen=True)
class Standard:
    """Mean and scale of an input before it is squashed."""

    mean: float
    scale: float

    @classmethod
    def of(cls, x: np.ndarray) -> "Standard":
        """Returns those of some values; the scale of a constant is 1."""
        mean, scale = float(x.mean()), float(x.std())
        return cls(mean, scale if scale > 1e-12 * abs(mean) else 1.0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return squash((x - self.mean) / self.scale)


@dataclass(frozen=True)
class Number:
    """A column of numbers or dates: one input, and another one that marks missing values where some were missing.

    Args:
        name: of the column.
        kind: `number` or `date`.
        form: how its text is written, as of a `Column`.
        median: replaces missing values.
        value: standardises the input.
        mark: standardises the mark; None where nothing was missing.
    """

    name: str
    kind: str
    form: tuple[str, ...]
    median: float
    value: Standard
    mark: Standard | None

    @classmethod
    def fitted(cls, column: Column, values: pd.Series) -> "Number":
        gaps = values.isna().to_numpy()
        median = 0.0 if gaps.all() else float(values.median())
        value, mark = Standard.of(values.fillna(median).to_numpy()), Standard.of(gaps.astype(float)) if gaps.any() else None
        return cls(column.name, column.kind, tuple(column.form), median, value, mark)

    def inputs(self, values: pd.Series) -> np.ndarray:
        """Returns the inputs of some rows, (N, 1) or (N, 2)."""
        marks = [] if self.mark is None else [self.mark(values.isna().to_numpy(dtype=float))]
        return np.stack([self.value(values.fillna(self.median).to_numpy()), *marks], axis=1)


@dataclass(frozen=True)
class Category:
    """A column of text: one input for each level, and one for rare and unknown levels where there are too many.

    Args:
        name: of the column.
        levels: the texts that have their own input.
        rare: whether there is an input for all others; without it, unknown text has zeros.
    """

    name: str
    levels: tuple[str, ...]
    rare: bool
    kind: str = "category"
    form: tuple[str, ...] = ()

    @classmethod
    def fitted(cls, column: Column, values: pd.Series) -> "Category":
        counts = _named(values).value_counts().sort_index().sort_values(ascending=False, kind="stable")
        rare = len(counts) > MOST_CATEGORIES
        return cls(column.name, tuple(sorted(counts.index[: MOST_CATEGORIES - 1 if rare else None])), rare)

    def inputs(self, values: pd.Series) -> np.ndarray:
        """Returns the inputs of some rows, (N, levels)."""
        found = pd.Index(self.levels).get_indexer(pd.Index(_named(values)))
        return np.eye(len(self.levels) + 1)[found][:, : len(self.levels) + self.rare]


@dataclass(frozen=True)
class Columns:
    """The columns of a table.

    Args:
        columns: what each used column becomes, in this order.
        comma: whether the file writes decimal commas.
    """

    columns: tuple[Number | Category, ...]
    comma: bool
    kind: str = "columns"

    @classmethod
    def fitted(cls, features: pd.DataFrame, columns: Sequence[Column], comma: bool = False) -> "Columns":
        """Fits every column: numbers as float64, categories as text."""
        named = {column.name: column for column in columns}
        kinds = [(Category if named[name].kind == "category" else Number, name) for name in features]
        return cls(tuple(kind.fitted(named[name], features[name]) for kind, name in kinds), comma)

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Columns":
        """Returns those of a JSON document."""
        return cls(tuple(map(_column, found["columns"])), found["comma"])

    def inputs(self, features: pd.DataFrame) -> np.ndarray:
        """Returns the inputs of rows that are read already, (N, inputs)."""
        return np.concatenate([column.inputs(features[column.name]) for column in self.columns], axis=1).astype(np.float32)

    def encode(self, rows: Rows) -> np.ndarray:
        """Returns the inputs of the rows of a file, a DataFrame or an array; other columns do not matter."""
        frame = frame_of(rows, self.comma, [column.name for column in self.columns])
        return self.inputs(pd.DataFrame({each.name: read_as(frame[each.name], each.kind, each.form) for each in self.columns}))


@dataclass(frozen=True)
class Pixels:
    """Features with one unit, as pixels have: missing ones get their mean, and all are divided by the largest one."""

    names: tuple[str, ...]
    unit: float
    means: tuple[float, ...]
    kind: str = "pixels"

    @classmethod
    def fitted(cls, features: pd.DataFrame) -> "Pixels":
        unit = float(np.nanmax(np.abs(features.to_numpy()))) or 1.0
        return cls(tuple(features.columns), unit, tuple(features.mean().fillna(0.0)))

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Pixels":
        """Returns those of a JSON document."""
        return cls(**tuples(found))

    def inputs(self, features: pd.DataFrame) -> np.ndarray:
        """Returns the inputs of some rows, (N, pixels)."""
        pixels = features.to_numpy(dtype=np.float64)
        return (np.where(np.isnan(pixels), self.means, pixels) / self.unit).astype(np.float32)

    def encode(self, rows: Rows) -> np.ndarray:
        """Returns the inputs of the rows of an array (N, ...), a file or a DataFrame."""
        return self.inputs(frame_of(rows, False, self.names).loc[:, list(self.names)])


def frame_of(rows: Rows, comma: bool, names: Sequence[str]) -> pd.DataFrame:
    """Returns new rows with the names of their columns as text; the columns of an array are x0, x1 and so on.

    Raises:
        StudyError: a column is missing, or the file cannot be read.
    """
    if isinstance(rows, np.ndarray):
        flat = rows.reshape(len(rows), -1)
        rows = pd.DataFrame(flat, columns=[f"x{index}" for index in range(flat.shape[1])])
    frame = rows if isinstance(rows, pd.DataFrame) else read_rows(Path(rows), comma)
    frame = frame.set_axis(unique_names(frame)[0], axis=1)
    for name in names:
        if name not in frame:
            advice = f"The study used {', '.join(names[:20])}{', ...' if len(names) > 20 else '.'}"
            raise StudyError(ENCODE, "the rows must have the columns of the study", f"none named {name!r}", advice)
    return frame


def tuples(found: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a JSON document, with tuples in place of lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _column(found: dict[str, Any]) -> Number | Category:
    if found["kind"] == "category":
        return Category(**tuples(found))
    value, mark = Standard(**found["value"]), found["mark"]
    return Number(**tuples(found) | {"value": value, "mark": mark and Standard(**mark)})


def _named(values: pd.Series) -> pd.Series:
    return values.astype("object").where(values.notna(), MISSING)


def squash(x: np.ndarray) -> np.ndarray:
    """Maps standardised values smoothly into (-3, 3) by x / sqrt(1 + (x / 3)**2), as RealMLP does (arXiv:2407.04491).

    Example:
        >>> squash(np.array([0.0, 1e6])).round(3).tolist()
        [0.0, 3.0]
    """
    return x / np.sqrt(1 + (x / 3) ** 2)
