"""Reads delimited text and Parquet as people have them: any delimiter, decimal commas, encodings and compression."""

import itertools
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from thinnet.study.data.columns import writes_commas
from thinnet.study.data.paths import PACKED, suffix_of
from thinnet.study.design.plan import COMMAND, StudyError

DELIMITERS = ",;\t|"
HEAD = 1 << 16


class Contents(NamedTuple):
    """The rows of a file under the names of its header, whether it writes decimal commas, and sentences on how it was read."""

    frame: pd.DataFrame
    comma: bool
    notes: tuple[str, ...]


def read_text(path: Path, comma: bool | None = None) -> Contents:
    """Reads delimited text. The delimiter is the most frequent one in the first line.

    Args:
        path: the file.
        comma: whether it writes decimal commas; None finds out.

    Raises:
        StudyError: the file is empty or no text, or its rows do not fit the header.
    """
    with PACKED.get(path.suffix.lower(), open)(path, "rb") as file:
        head = file.read(HEAD)
    encoding, notes = _encoding(path, head)
    first = head.decode(encoding, errors="replace").lstrip("\ufeff").split("\n", 1)[0]
    if not first.strip():
        raise StudyError(COMMAND, "FILE must hold a header and rows", f"an empty {str(path)!r}", "Check the export.")
    how = {"sep": max(DELIMITERS, key=first.count), "encoding": encoding, "low_memory": False}
    try:
        frame, names_rows = _read(path, how)
    except UnicodeDecodeError:
        notes, how["encoding"] = ("The file is not UTF-8: it was read as Windows-1252.",), "cp1252"
        frame, names_rows = _read(path, how)
    if names_rows:
        notes += ("Rows have one value more than the header has names: the first names the row, and is left out.",)
    comma = writes_commas(frame) if comma is None else comma
    if comma:
        frame, _ = _read(path, how | {"dtype": "str"})  # "1.234" is more than a thousand in this file
    names = pd.read_csv(path, **how | {"header": None, "nrows": 1, "dtype": "str", "keep_default_na": False})
    return Contents(frame.set_axis(names.iloc[0], axis=1), comma, notes)


def unique_names(names: Iterable[object]) -> tuple[list[str], list[str]]:
    """Returns names as text, where no two are the same and none is empty, and those that were there more than once.

    Example:
        >>> unique_names(["a", " a ", "", 3])
        (['a', 'a.1', 'Unnamed: 2', '3'], ['a'])
    """
    stripped = [str(name).strip() or f"Unnamed: {position}" for position, name in enumerate(names)]
    counts, unique = Counter(stripped), dict[str, None]()
    for name in stripped:
        others = (f"{name}.{number}" for number in itertools.count(1))
        unique[next(each for each in others if each not in counts and each not in unique) if name in unique else name] = None
    return list(unique), [name for name, count in counts.items() if count > 1]


def _read(path: Path, how: dict[str, Any]) -> tuple[pd.DataFrame, bool]:
    """Reads the rows, and returns whether each has one value more than the header has names: the name of the row."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", pd.errors.ParserWarning)
        frame = pd.read_csv(path, index_col=False, **how)  # a delimiter may end each line
    if not any(issubclass(each.category, pd.errors.ParserWarning) for each in found):
        return frame, False
    frame = pd.read_csv(path, **how)  # what the header does not name becomes the index
    if frame.index.nlevels > 1 or not frame.index.is_unique:
        names, rule = len(frame.columns), "rows must have as many values as the header has names"
        got = f"{frame.index.nlevels + names} under {names} in {str(path)!r}, whose header starts with {frame.columns[0]!r}"
        raise StudyError(COMMAND, rule, got, "Remove the lines above the header, or complete it.")
    return frame.reset_index(drop=True), True


def read_rows(path: Path, comma: bool) -> pd.DataFrame:
    """Reads the rows of a file as text where it writes decimal commas, else with the types that they have."""
    if suffix_of(path) == ".parquet":
        return read_parquet(path).frame
    return read_text(path, comma).frame


def _encoding(path: Path, head: bytes) -> tuple[str, tuple[str, ...]]:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16", ()
    if b"\0" in head:
        got = f"{str(path)!r}, which holds bytes that are no text"
        raise StudyError(COMMAND, f"FILE must be a readable {suffix_of(path)} file", got, "Re-export it.")
    return "utf-8-sig", ()


def read_parquet(path: Path) -> Contents:
    """Reads a Parquet file."""
    return Contents(pd.read_parquet(path), False, ())
