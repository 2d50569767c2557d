"""Reads a file into a table of features and a target."""

import difflib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from thinnet.study.data.columns import KINDS, Column, read_columns
from thinnet.study.data.files import Contents, read_parquet, read_text, unique_names
from thinnet.study.data.paths import ARRAYS, check_table, suffix_of
from thinnet.study.data.written import text_as_numbers, without_markers
from thinnet.study.design.plan import COMMAND, StudyError

READERS = {".csv": read_text, ".tsv": read_text, ".txt": read_text, ".parquet": read_parquet}


@dataclass(frozen=True)
class Table:
    """The content of a file.

    Args:
        name: the name of the data.
        features: one column a feature that is used, numbers as float64 and everything else as text or missing.
        target: one value a row, missing values included.
        columns: how every column was read; those of arrays are not `listed`, as all are numbers.
        image: whether all features are numbers in one unit, as pixels are.
        notes: sentences on how the file was read.
        comma: whether the file writes decimal commas.
        listed: whether the columns are shown.
    """

    name: str
    features: pd.DataFrame
    target: pd.Series
    columns: tuple[Column, ...] = ()
    image: bool = False
    notes: tuple[str, ...] = ()
    comma: bool = False
    listed: bool = True


def read_table(path: Path | None, target: str | None, kinds: Mapping[str, str] | None = None) -> Table:
    """Reads the data of a study.

    Args:
        path: a .csv, .tsv, .txt, .parquet or .npz file; None for scikit-learn's digits. Text may be compressed (.csv.gz).
        target: the column, or the array of an .npz file, to predict.
        kinds: the kind of a column by its name, among `KINDS`, where it is not to be inferred.

    Raises:
        StudyError: the file cannot be read, or is not a table with this target and these columns.

    Example:
        >>> read_table(None, None).features.shape
        (1797, 64)
    """
    kinds = kinds or {}
    if path is None or suffix_of(path) == ARRAYS:
        if kinds:
            raise StudyError("--column", "the option must come with a table", f"{next(iter(kinds))!r}", "Leave it out.")
    if path is None:
        if target is not None:
            raise StudyError("--target", "the option must come with a FILE", f"{target!r} alone", "Name the file first.")
        from sklearn.datasets import load_digits  # it takes a second to import, which a mistake in a table need not wait for

        pixels, digit = load_digits(return_X_y=True)
        return from_arrays("digits", np.asarray(pixels).reshape(-1, 8, 8), np.asarray(digit), "digit")
    check_table(path)
    try:
        if suffix_of(path) == ARRAYS:
            return _read_arrays(path, target)
        contents = READERS[suffix_of(path)](path)
    except StudyError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        got = f"{str(path)!r} ({reason})"
        raise StudyError(COMMAND, f"FILE must be a readable {suffix_of(path)} file", got, "Repair or re-export it.") from None
    return from_contents(path.name, contents, target, kinds)


def parse_kinds(options: Sequence[str]) -> dict[str, str]:
    """Parses `NAME=KIND` options.

    Raises:
        StudyError: an option has another form, or there is no such kind.

    Example:
        >>> parse_kinds(["zip code=category"])
        {'zip code': 'category'}
    """
    kinds = {}
    for option in options:
        name, _, kind = option.rpartition("=")
        if not name or kind not in KINDS:
            rule = f"the value must be NAME=KIND, with KIND among {', '.join(KINDS)}"
            raise StudyError("--column", rule, repr(option), "Write, for example, zip=category.")
        kinds[name] = kind
    return kinds


def _read_arrays(path: Path, target: str | None) -> Table:
    """Reads an archive of arrays: X, or the only other array, and y, or the one that `target` names."""
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


def from_arrays(name: str, x: np.ndarray, y: np.ndarray, target: str) -> Table:
    """Makes a table from inputs (N, ...) and targets (N,). Inputs of three or more axes, or of bytes, are images.

    All axes of an input after the first are flattened.
    """
    image = x.ndim > 2 or x.dtype == np.uint8
    flat = x.reshape(len(x), -1) if x.size else x.reshape(len(x), 0)
    frame = pd.DataFrame(flat, columns=[f"x{index}" for index in range(flat.shape[1])])
    _check_size(frame)
    features, columns = (frame.astype("float64"), ()) if image else read_columns(frame, dict.fromkeys(frame, "number"))
    return Table(name, features, pd.Series(y, name=target), columns, image=image, listed=False)


def from_contents(name: str, contents: Contents, target: str | None, kinds: Mapping[str, str]) -> Table:
    """Separates the target from the features, and reads every column."""
    names, repeated = unique_names(contents.frame)
    frame = contents.frame.set_axis(names, axis=1)
    if target is None:
        raise StudyError("--target", "a column must be named for a table", "none", _choose(names))
    if target not in names:
        raise StudyError("--target", "the name must be that of one column", repr(target), _choose(names, target))
    if target in repeated:
        got = f"{target!r}, the name of several"
        raise StudyError("--target", "the name must be that of one column", got, "Rename or remove the others.")
    notes = contents.notes
    if repeated:
        notes += (f"The header repeats {', '.join(map(repr, repeated))}: the second column of a name is called NAME.1.",)
    for column in kinds:
        if column not in names or column == target:
            others = [each for each in names if each != target]
            raise StudyError("--column", "the name must be that of one feature", repr(column), _choose(others, column))
    features = frame.drop(columns=target)
    _check_size(features)
    used, columns = read_columns(features, kinds, contents.comma)
    if used.empty:
        left = ", ".join(f"{each.name!r} ({each.kind})" for each in columns)
        raise StudyError(COMMAND, "FILE must hold a usable feature", left, "Name its kind: --column NAME=category.")
    return Table(name, used, _target(frame[target], contents.comma), columns, notes=notes, comma=contents.comma)


def _target(values: pd.Series, comma: bool) -> pd.Series:
    """Reads a target of text as numbers where every value is one."""
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return values
    text = without_markers(values, words=False)
    numbers = text_as_numbers(text, comma, enough=1.0)
    return text if numbers is None else numbers.values.rename(values.name)


def _choose(names: list[str], wrong: str = "") -> str:
    if near := difflib.get_close_matches(wrong, names, 1):
        return f"Did you mean {near[0]!r}?"
    if text_as_numbers(pd.Series(names), enough=1.0) is not None and names != [str(number) for number in range(len(names))]:
        return f"The first line holds numbers ({', '.join(names[:3])}, ...): write the names of the columns above it."
    return f"Choose one of {', '.join(names[:20])}" + (", ..." if len(names) > 20 else ".")


def _check_size(features: pd.DataFrame) -> None:
    rows, columns = features.shape
    if not rows or not columns:
        rule, got = "FILE must hold rows and a feature besides the target", f"{rows} rows and {columns} features"
        raise StudyError(COMMAND, rule, got, "Check the export.")
