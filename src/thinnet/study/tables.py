"""Read a file into a table of features and a target."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from thinnet.study.plan import COMMAND, StudyError

LARGEST = 1e100
DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Table:
    """The content of a file.

    Args:
        name: the name of the data.
        features: one column a feature, numbers as float64 and everything else as text or missing.
        target: one value a row, missing values included.
        image: whether all features are numbers in one unit, as pixels are.
    """

    name: str
    features: pd.DataFrame
    target: pd.Series
    image: bool = False


def read_table(path: Path | None, target: str | None) -> Table:
    """Read the data of a study.

    Args:
        path: a .csv, .tsv, .parquet or .npz file; None for scikit-learn's digits.
        target: the column, or the array of an .npz file, to predict.

    Raises:
        StudyError: the file cannot be read, or is not a table with this target.

    Example:
        >>> read_table(None, None).features.shape
        (1797, 64)
    """
    if path is None:
        if target is not None:
            raise StudyError("--target", "the option must come with a FILE", f"{target!r} alone", "Name the file first.")
        pixels, digit = load_digits(return_X_y=True)
        return from_arrays("digits", np.asarray(pixels).reshape(-1, 8, 8), np.asarray(digit), "digit")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise StudyError(COMMAND, f"FILE must end in {', '.join(_READERS)}", repr(str(path)), "Convert it to one of them.")
    if not path.is_file():
        raise StudyError(COMMAND, "FILE must be a file that exists", repr(str(path)), "Check the path.")
    try:
        return reader(path, target)
    except StudyError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        got = f"{str(path)!r} ({reason})"
        raise StudyError(COMMAND, f"FILE must be a readable {path.suffix} file", got, "Repair or re-export it.") from None


def _read_text(path: Path, target: str | None) -> Table:
    """Read delimited UTF-8 text; the delimiter is the most frequent one in the first line."""
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    if not header.strip():
        raise StudyError(COMMAND, "FILE must hold a header and rows", f"an empty {str(path)!r}", "Check the export.")
    delimiter = max(DELIMITERS, key=header.count)
    return _from_frame(path, pd.read_csv(path, sep=delimiter, encoding="utf-8-sig", low_memory=False), target)


def _read_parquet(path: Path, target: str | None) -> Table:
    return _from_frame(path, pd.read_parquet(path), target)


def _read_arrays(path: Path, target: str | None) -> Table:
    """Read an archive of arrays: X, or the only other array, and y, or the one that `target` names."""
    with np.load(path, allow_pickle=False) as archive:
        names = list(archive.files)
        y_name = target or next((name for name in ("y", "target", "labels") if name in names), "y")
        x_name = "X" if "X" in names else next((name for name in names if name != y_name and len(names) == 2), "X")
        for role, name in (("targets", y_name), ("inputs", x_name)):
            if name not in names:
                advice = f"Its arrays are {', '.join(names) or 'none'}; name them X and y, or give --target."
                raise StudyError("--target", f"the {role} must be an array of the file", f"no {name!r}", advice)
        x, y = archive[x_name], archive[y_name]
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y):
        rule = f"{x_name} and {y_name} must be of shapes (rows, ...) and (rows,)"
        raise StudyError(COMMAND, rule, f"{x.shape} and {y.shape}", "Reshape them.")
    return from_arrays(path.name, x, y, y_name)


_READERS: dict[str, Callable[[Path, str | None], Table]] = {
    ".csv": _read_text,
    ".tsv": _read_text,
    ".parquet": _read_parquet,
    ".npz": _read_arrays,
}


def from_arrays(name: str, x: np.ndarray, y: np.ndarray, target: str) -> Table:
    """Make a table from inputs (N, ...) and targets (N,). Inputs of three or more axes, or of bytes, are images.

    All axes of an input after the first are flattened.
    """
    image = x.ndim > 2 or x.dtype == np.uint8
    flat = x.reshape(len(x), -1) if x.size else x.reshape(len(x), 0)
    columns = [f"x{index}" for index in range(flat.shape[1])]
    return _checked(Table(name, pd.DataFrame(flat, columns=columns), pd.Series(y, name=target), image))


def _from_frame(path: Path, frame: pd.DataFrame, target: str | None) -> Table:
    """Separate the target column from the features."""
    frame.columns = [str(column) for column in frame.columns]
    columns = list(frame.columns)
    listed = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
    if target is None:
        raise StudyError("--target", "a column must be named for a table", "none", f"Choose one of {listed}.")
    if columns.count(target) != 1:
        raise StudyError("--target", "the name must be that of one column", repr(target), f"Choose one of {listed}.")
    return _checked(Table(path.name, frame.drop(columns=target), frame[target]))


def _checked(table: Table) -> Table:
    """Convert the features to numbers and text.

    Raises:
        StudyError: there are no rows or no features, or a column holds nothing or unbounded numbers.
    """
    rows, columns = table.features.shape
    if not rows or not columns:
        rule, got = "FILE must hold rows and a feature besides the target", f"{rows} rows and {columns} features"
        raise StudyError(COMMAND, rule, got, "Check the export.")
    clean = {name: _cleaned(column) for name, column in table.features.items()}
    for name, column in clean.items():
        if column.isna().all():
            rule = f"column {name!r} must hold at least one value"
            raise StudyError(COMMAND, rule, f"{rows} missing ones", "Remove the column.")
        if column.dtype == np.float64 and (column.abs() > LARGEST).any():
            rule = f"column {name!r} must hold finite numbers"
            raise StudyError(COMMAND, rule, column.abs().max(), "Remove or replace them.")
    return Table(table.name, pd.DataFrame(clean), table.target, table.image)


def _cleaned(column: pd.Series) -> pd.Series:
    """Convert a feature to float64 (numbers, booleans, times) or to text; missing values stay missing."""
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        unit = "timedelta64[s]" if pd.api.types.is_timedelta64_dtype(column) else "datetime64[s]"
        stamps = column.dt.tz_localize(None) if getattr(column.dt, "tz", None) is not None else column
        return stamps.astype(unit).astype("int64").astype("float64").mask(column.isna())
    if pd.api.types.is_numeric_dtype(column):
        return column.astype("float64")
    return column.map(str, na_action="ignore").astype("object")
