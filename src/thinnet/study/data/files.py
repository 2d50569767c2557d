"""Read delimited text and Parquet as people have them: any delimiter, decimal commas, encodings and compression."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from thinnet.study.data.columns import writes_commas
from thinnet.study.data.paths import PACKED, suffix_of
from thinnet.study.design.plan import COMMAND, StudyError

DELIMITERS = ",;\t|"
HEAD = 1 << 16


class Contents(NamedTuple):
    """The rows of a file, whether it writes decimal commas, and sentences on how it was read."""

    frame: pd.DataFrame
    comma: bool
    notes: tuple[str, ...]


def read_text(path: Path, comma: bool | None = None) -> Contents:
    """Read delimited text. The delimiter is the most frequent one in the first line.

    Args:
        path: the file.
        comma: whether it writes decimal commas; None finds out.

    Raises:
        StudyError: the file is empty or no text.
    """
    with PACKED.get(path.suffix.lower(), open)(path, "rb") as file:
        head = file.read(HEAD)
    encoding, notes = _encoding(path, head)
    first = head.decode(encoding, errors="replace").lstrip("\ufeff").split("\n", 1)[0]
    if not first.strip():
        raise StudyError(COMMAND, "FILE must hold a header and rows", f"an empty {str(path)!r}", "Check the export.")
    how = {"sep": max(DELIMITERS, key=first.count), "encoding": encoding, "low_memory": False}
    try:
        frame = pd.read_csv(path, **how)
    except UnicodeDecodeError:
        notes, how["encoding"] = ("The file is not UTF-8: it was read as Windows-1252.",), "cp1252"
        frame = pd.read_csv(path, **how)
    comma = writes_commas(frame) if comma is None else comma
    if comma:
        frame = pd.read_csv(path, dtype="str", **how)  # "1.234" is more than a thousand in this file
    return Contents(frame, comma, notes)


def read_rows(path: Path, comma: bool) -> pd.DataFrame:
    """Read the rows of a file as text where it writes decimal commas, else with the types that they have."""
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
    """Read a Parquet file."""
    return Contents(pd.read_parquet(path), False, ())
