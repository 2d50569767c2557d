"""From a file to a table of features and a target, with nothing fitted yet."""

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
    """What a file holds.

    Args:
        name: what the data are called.
        features: one column a feature, numbers as float64 and everything else as text or missing.
        target: one value a row, missing values included.
        image: whether all features are numbers in one unit, as pixels are.
    """

    name: str
    features: pd.DataFrame
    target: pd.Series
    image: bool = False


def read_table(path: Path | None, target: str | None) -> Table:
    """Reads the data of a study.

    Args:
        path: a .csv, .tsv, .parquet or .npz file; none for scikit-learn's digits.
        target: the column, or the array of an .npz file, to predict.

    Returns:
        The table, as it is in the file.

    Raises:
        StudyError: if the file cannot be read, or is not a table with this target.

    Example:
        >>> read_table(None, None).features.shape
        (1797, 64)
    """
    if path is None:
        if target is not None:
            raise StudyError("--target", "the option must come with a FILE", f"{target!r} alone", "Name the file first.")
        pixels, digit = load_digits(return_X_y=True)
        return from_arrays("digits", np.asarray(pixels).reshape(-1, 8, 8), np.asarray(digit), "digit")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise StudyError(COMMAND, f"FILE must end in {', '.join(READERS)}", repr(str(path)), "Convert it to one of them.")
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


def read_text(path: Path, target: str | None) -> Table:
    """Reads a table of text, whose delimiter is the one that its first line has most of.

    Args:
        path: the file, in UTF-8.
        target: the column to predict.

    Returns:
        The table.
    """
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    if not header.strip():
        raise StudyError(COMMAND, "FILE must hold a header and rows", f"an empty {str(path)!r}", "Check the export.")
    delimiter = max(DELIMITERS, key=header.count)
    return from_frame(path, pd.read_csv(path, sep=delimiter, encoding="utf-8-sig", low_memory=False), target)


def read_parquet(path: Path, target: str | None) -> Table:
    """Reads a Parquet table.

    Args:
        path: the file.
        target: the column to predict.

    Returns:
        The table.
    """
    return from_frame(path, pd.read_parquet(path), target)


def read_arrays(path: Path, target: str | None) -> Table:
    """Reads an archive of arrays: X, or the only other array, and y, or the one that `target` names.

    Args:
        path: the file.
        target: the name of the array to predict.

    Returns:
        The table.
    """
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


READERS: dict[str, Callable[[Path, str | None], Table]] = {
    ".csv": read_text,
    ".tsv": read_text,
    ".parquet": read_parquet,
    ".npz": read_arrays,
}


def from_arrays(name: str, x: np.ndarray, y: np.ndarray, target: str) -> Table:
    """Makes a table of arrays; inputs of three or more axes, or of bytes, are images.

    Args:
        name: what the data are called.
        x: inputs, (N, ...).
        y: targets, (N,).
        target: what the targets are called.

    Returns:
        The table, every axis of an input after the first made flat.
    """
    image = x.ndim > 2 or x.dtype == np.uint8
    flat = x.reshape(len(x), -1) if x.size else x.reshape(len(x), 0)
    columns = [f"x{index}" for index in range(flat.shape[1])]
    return checked(Table(name, pd.DataFrame(flat, columns=columns), pd.Series(y, name=target), image))


def from_frame(path: Path, frame: pd.DataFrame, target: str | None) -> Table:
    """Parts the target from the features.

    Args:
        path: the file, for its name.
        frame: what it holds.
        target: the column to predict.

    Returns:
        The table.
    """
    frame.columns = [str(column) for column in frame.columns]
    columns = list(frame.columns)
    listed = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
    if target is None:
        raise StudyError("--target", "a column must be named for a table", "none", f"Choose one of {listed}.")
    if columns.count(target) != 1:
        raise StudyError("--target", "the name must be that of one column", repr(target), f"Choose one of {listed}.")
    return checked(Table(path.name, frame.drop(columns=target), frame[target]))


def checked(table: Table) -> Table:
    """Brings the features to numbers and text, and refuses columns that hold nothing.

    Args:
        table: as it was read.

    Returns:
        The same table with clean features.

    Raises:
        StudyError: if the table has no rows or no features, or a column holds nothing or numbers without bound.
    """
    rows, columns = table.features.shape
    if not rows or not columns:
        rule, got = "FILE must hold rows and a feature besides the target", f"{rows} rows and {columns} features"
        raise StudyError(COMMAND, rule, got, "Check the export.")
    clean = {name: cleaned(column) for name, column in table.features.items()}
    for name, column in clean.items():
        if column.isna().all():
            rule = f"column {name!r} must hold at least one value"
            raise StudyError(COMMAND, rule, f"{rows} missing ones", "Remove the column.")
        if column.dtype == np.float64 and (column.abs() > LARGEST).any():
            rule = f"column {name!r} must hold finite numbers"
            raise StudyError(COMMAND, rule, column.abs().max(), "Remove or replace them.")
    return Table(table.name, pd.DataFrame(clean), table.target, table.image)


def cleaned(column: pd.Series) -> pd.Series:
    """Brings one feature to float64 (numbers, truth values, times) or to text; missing stays missing.

    Args:
        column: of any type.

    Returns:
        The feature.
    """
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        unit = "timedelta64[s]" if pd.api.types.is_timedelta64_dtype(column) else "datetime64[s]"
        stamps = column.dt.tz_localize(None) if getattr(column.dt, "tz", None) is not None else column
        return stamps.astype(unit).astype("int64").astype("float64").mask(column.isna())
    if pd.api.types.is_numeric_dtype(column):
        return column.astype("float64")
    return column.map(str, na_action="ignore").astype("object")
