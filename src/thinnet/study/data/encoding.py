"""The encoder of a table: fitted on the samples for training and validation, written as JSON, used for new rows again."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.special import softmax

from thinnet.study.data.columns import Column, read_as
from thinnet.study.data.files import read_rows
from thinnet.study.data.tasks import Classification, Regression
from thinnet.study.design.plan import StudyError

MOST_CATEGORIES = 50
MISSING = "(missing)"
FORMAT = 1
WHERE = "Encoder.encode"


@dataclass(frozen=True)
class Standard:
    """Mean and scale of an input before it is squashed."""

    mean: float
    scale: float

    @classmethod
    def of(cls, x: np.ndarray) -> "Standard":
        """Return those of some values; the scale of a constant is 1."""
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
        """Return the inputs of some rows, (N, 1) or (N, 2)."""
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
        """Return the inputs of some rows, (N, levels)."""
        found = pd.Index(self.levels).get_indexer(pd.Index(_named(values)))
        return np.eye(len(self.levels) + 1)[found][:, : len(self.levels) + self.rare]


@dataclass(frozen=True)
class Pixels:
    """Features with one unit, as pixels have: missing ones get their mean, and all are divided by the largest one."""

    names: tuple[str, ...]
    unit: float
    means: tuple[float, ...]

    @classmethod
    def fitted(cls, features: pd.DataFrame) -> "Pixels":
        unit = float(np.nanmax(np.abs(features.to_numpy()))) or 1.0
        return cls(tuple(features.columns), unit, tuple(features.mean().fillna(0.0)))

    def inputs(self, features: pd.DataFrame) -> np.ndarray:
        """Return the inputs of some rows, (N, pixels)."""
        pixels = features.to_numpy(dtype=np.float64)
        return np.where(np.isnan(pixels), self.means, pixels) / self.unit


@dataclass(frozen=True)
class Encoder:
    """Turns rows of a table into inputs of a network, and its outputs into predictions.

    Args:
        target: the predicted column.
        classes: their names; none for a regression.
        mean, scale: of the target of a regression.
        comma: whether the file writes decimal commas.
        columns: what each used column becomes, in this order.
        pixels: in place of columns, for arrays of images.

    Example:
        >>> rows = pd.DataFrame({"size": [1.0, 2.0, 4.0]})
        >>> encoder = Encoder.fitted(rows, [Column("size", "number", "", 0, 3, True)], Regression(5.0, 2.0), "price")
        >>> encoder.encode(rows).shape, encoder.decode([[0.0], [1.0]]).tolist()
        ((3, 1), [5.0, 7.0])
    """

    target: str
    classes: tuple[str, ...]
    mean: float
    scale: float
    comma: bool
    columns: tuple[Number | Category, ...]
    pixels: Pixels | None

    FILE: ClassVar = "encoder.json"

    @classmethod
    def fitted(
        cls,
        features: pd.DataFrame,
        columns: Sequence[Column],
        task: Classification | Regression,
        target: str,
        comma: bool = False,
        image: bool = False,
    ) -> "Encoder":
        """Fit an encoder.

        Args:
            features: the columns that are used, numbers as float64 and categories as text.
            columns: how they were read.
            task: of the target.
            target: its name.
            comma: whether the file writes decimal commas.
            image: whether the features are pixels.
        """
        named = {column.name: column for column in columns}
        kinds = [(Category if named[name].kind == "category" else Number, name) for name in ([] if image else features)]
        found = tuple(kind.fitted(named[name], features[name]) for kind, name in kinds)
        classes = tuple(task.classes) if isinstance(task, Classification) else ()
        mean, scale = (task.mean, task.scale) if isinstance(task, Regression) else (0.0, 1.0)
        return cls(target, classes, mean, scale, comma, found, Pixels.fitted(features) if image else None)

    def inputs(self, features: pd.DataFrame) -> np.ndarray:
        """Encode columns that are read already, to (N, inputs) and float32."""
        parts = [column.inputs(features[column.name]) for column in self.columns]
        return np.concatenate([self.pixels.inputs(features)] if self.pixels else parts, axis=1).astype(np.float32)

    def encode(self, rows: "str | Path | pd.DataFrame | np.ndarray") -> np.ndarray:
        """Read and encode new rows, as the study read and encoded its own.

        Args:
            rows: a table as a file or a DataFrame, whose other columns do not matter; an array (N, ...) for one of arrays.

        Returns: (N, inputs), float32.

        Raises:
            StudyError: a column is missing, or the file cannot be read.
        """
        if isinstance(rows, np.ndarray):
            flat = rows.reshape(len(rows), -1)
            rows = pd.DataFrame(flat, columns=[f"x{index}" for index in range(flat.shape[1])])
        frame = rows if isinstance(rows, pd.DataFrame) else read_rows(Path(rows), self.comma)
        frame = frame.set_axis([str(name) for name in frame], axis=1)
        names = self.pixels.names if self.pixels else [column.name for column in self.columns]
        for name in names:
            if name not in frame:
                advice = f"The study used {', '.join(names[:20])}{', ...' if len(names) > 20 else '.'}"
                raise StudyError(WHERE, "the rows must have the columns of the study", f"none named {name!r}", advice)
        if self.pixels:
            return self.inputs(frame.loc[:, list(names)])
        return self.inputs(pd.DataFrame({each.name: read_as(frame[each.name], each.kind, each.form) for each in self.columns}))

    def decode(self, outputs: Any) -> "pd.DataFrame | pd.Series":
        """Turn outputs of the network (N, outputs) into the probability of each class, or into numbers of the target's unit."""
        values = np.asarray(outputs, dtype=np.float64)
        if self.classes:
            return pd.DataFrame(softmax(values, axis=1), columns=list(self.classes))
        return pd.Series(values.reshape(len(values)) * self.scale + self.mean, name=self.target)

    def save(self, path: Path) -> None:
        """Write a JSON document."""
        path.write_text(json.dumps({"format": FORMAT} | asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Encoder":
        """Read what `save` wrote."""
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if found.pop("format") != FORMAT:
            raise StudyError("Encoder.load", f"the format must be {FORMAT}", repr(str(path)), "Run the study again.")
        columns, pixels = tuple(map(_column, found.pop("columns"))), found.pop("pixels")
        return cls(**_tuples(found), columns=columns, pixels=pixels and Pixels(**_tuples(pixels)))


def _column(found: dict[str, Any]) -> Number | Category:
    if found["kind"] == "category":
        return Category(**_tuples(found))
    value, mark = Standard(**found.pop("value")), found.pop("mark")
    return Number(**_tuples(found), value=value, mark=mark and Standard(**mark))


def _tuples(found: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _named(values: pd.Series) -> pd.Series:
    return values.astype("object").where(values.notna(), MISSING)


def squash(x: np.ndarray) -> np.ndarray:
    """Map standardised values smoothly into (-3, 3) by x / sqrt(1 + (x / 3)**2), as RealMLP does (arXiv:2407.04491).

    Example:
        >>> squash(np.array([0.0, 1e6])).round(3).tolist()
        [0.0, 3.0]
    """
    return x / np.sqrt(1 + (x / 3) ** 2)
