"""Decides what each column of a table is, and reads it: numbers, dates and categories are used, the rest is left out."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import pandas as pd

from thinnet.report.table import Table
from thinnet.study.data.written import (
    POINT,
    Numbers,
    Style,
    dates_in,
    numbers_in,
    seconds,
    text_as_dates,
    text_as_numbers,
    without_markers,
)
from thinnet.study.design.plan import COMMAND, StudyError

KINDS = ("number", "date", "category", "skip")
"""The kinds that `--column NAME=KIND` accepts."""

LARGEST = 1e100
MOST_LEVELS = 20
"""Text with more different values than this, most of them seen once, is an id or free text."""

WORDS = 3
"""Different texts with this many words on average are free text, with fewer an id."""

FEWEST_ALIKE = 6
"""So many neighbours that were read alike share a line."""

ID_NAME = re.compile(r"(^|[\W_])(id|ids|idx|index|uuid|guid|key|row|rowid|rownum|nr)$|^unnamed: 0$", re.IGNORECASE)


class Column(NamedTuple):
    """How a column was read.

    Args:
        name: its name.
        kind: number, date or category; or, left out: id, free text, constant, empty or skipped.
        how: how its values are written, where that is not obvious.
        missing: the number of missing values.
        levels: the number of different values.
        used: whether the network sees it.
        form: the separators of decimals and of thousands, or the format of dates, where the column is text.
    """

    name: str
    kind: str
    how: str
    missing: int
    levels: int
    used: bool
    form: tuple[str, ...] = ()


def read_columns(frame: pd.DataFrame, kinds: Mapping[str, str], comma: bool = False) -> tuple[pd.DataFrame, tuple[Column, ...]]:
    """Reads every column; returns those that are used, as float64 or text, and one description for each.

    Args:
        frame: the features of a file.
        kinds: the kind of a column by its name, where the user says it.
        comma: whether the file writes decimal commas.

    Raises:
        StudyError: a column cannot be read as the kind that the user says, or holds unbounded numbers.
    """
    used, described = {}, []
    for name, values in frame.items():
        column, read = _read(str(name), values, kinds.get(str(name)), comma)
        described.append(column)
        if column.used:
            used[str(name)] = read
    return pd.DataFrame(used, index=frame.index), tuple(described)


def writes_commas(frame: pd.DataFrame) -> bool:
    """Returns whether a column of text holds numbers with decimal commas."""
    texts = (without_markers(values) for _, values in frame.items() if _is_text(values))
    found = (text_as_numbers(text) for text in texts)
    return any(numbers is not None and numbers.style.decimal == "," for numbers in found)


def _read(name: str, values: pd.Series, kind: str | None, comma: bool) -> tuple[Column, pd.Series]:
    text = without_markers(values) if _is_text(values) else values
    missing, levels = int(text.isna().sum()), int(text.nunique())

    def described(kind: str, how: str = "", used: bool = True, gaps: int = missing, form: tuple[str, ...] = ()) -> Column:
        return Column(name, kind, how, gaps, levels, used, form)

    if kind == "skip":
        return described("skipped", "as asked", used=False), text
    if kind is not None:
        return _FORCED[kind](described, name, text, comma)
    if levels == 0:
        return described("empty", used=False), text
    if levels == 1 and not missing:
        return described("constant", f"always {text.dropna().iloc[0]}", used=False), text
    if not _is_text(values):
        return _typed(described, name, text)
    return _text(described, name, text, comma)


Describe = Callable[..., Column]


def _typed(described: Describe, name: str, values: pd.Series) -> tuple[Column, pd.Series]:
    """Reads a column of numbers, booleans, dates or durations."""
    if _is_time(values):
        return described("date", "as seconds"), seconds(values)
    numbers = _bounded(name, values.astype("float64"))
    if _is_id(name, numbers):
        return _row_number(described, values)
    return described("number", "true is 1" if pd.api.types.is_bool_dtype(values) else ""), numbers


def _text(described: Describe, name: str, text: pd.Series, comma: bool) -> tuple[Column, pd.Series]:
    """Reads a column of text as numbers, else as dates, else as categories, unless its values hardly repeat."""
    if (numbers := text_as_numbers(text, comma)) is not None:
        return _row_number(described, text) if _is_id(name, numbers.values) else _numbers(described, name, numbers)
    if (dates := text_as_dates(text)) is not None:
        return described("date", f"{dates[1]}, as seconds", form=(dates[1],)), dates[0]
    present = text.dropna()
    if present.nunique() > max(MOST_LEVELS, len(present) / 2):
        free = present.str.count(r"\S+").mean() >= WORDS
        return described("free text" if free else "id", "values hardly repeat", used=False), text
    return described("category"), text.astype("object")


def _numbers(described: Describe, name: str, numbers: Numbers) -> tuple[Column, pd.Series]:
    words = [numbers.how] if numbers.how else []
    if numbers.not_numbers:
        words.append(f"{numbers.not_numbers[0]!r} counts as missing")
    gaps = int(numbers.values.isna().sum())
    return described("number", ", ".join(words), gaps=gaps, form=tuple(numbers.style)), _bounded(name, numbers.values)


def _as_number(described: Describe, name: str, values: pd.Series, comma: bool) -> tuple[Column, pd.Series]:
    if not _is_text(values):
        return _typed_number(described, name, values)
    numbers = text_as_numbers(values, comma, enough=0.5)
    if numbers is None:
        raise _cannot(name, "number", values)
    return _numbers(described, name, numbers)


def _typed_number(described: Describe, name: str, values: pd.Series) -> tuple[Column, pd.Series]:
    return described("number"), seconds(values) if _is_time(values) else _bounded(name, values.astype("float64"))


def _as_date(described: Describe, name: str, values: pd.Series, comma: bool) -> tuple[Column, pd.Series]:
    if _is_time(values):
        return described("date", "as seconds"), seconds(values)
    dates = text_as_dates(_as_text(values))
    if dates is None:
        raise _cannot(name, "date", values)
    return described("date", f"{dates[1]}, as seconds", form=(dates[1],)), dates[0]


def _as_category(described: Describe, name: str, values: pd.Series, comma: bool) -> tuple[Column, pd.Series]:
    return described("category"), _as_text(values)


_FORCED = {"number": _as_number, "date": _as_date, "category": _as_category}


def read_as(values: pd.Series, kind: str, form: Sequence[str]) -> pd.Series:
    """Reads new values of a column as its first ones were read; what does not fit is missing.

    Args:
        values: as a file holds them.
        kind: number, date or category.
        form: of the `Column`.
    """
    text = without_markers(values) if _is_text(values) else values
    if kind == "category":
        return _as_text(text)
    if _is_time(text):
        return seconds(text)
    if kind == "date":
        return dates_in(_as_text(text), form[0] if form else "%Y-%m-%d")
    if not _is_text(text):
        return _bounded(str(values.name), text.astype("float64"))
    return numbers_in(text.replace({"True": "1", "False": "0"}), Style(*form) if form else POINT)


def _as_text(values: pd.Series) -> pd.Series:
    """Writes values as text; whole numbers have no decimal point, also where missing ones make them floats."""
    whole = pd.api.types.is_float_dtype(values) and bool((values.dropna() % 1 == 0).all())
    return (values.astype("Int64") if whole else values).astype("object").map(str, na_action="ignore")


def _cannot(name: str, kind: str, values: pd.Series) -> StudyError:
    present = values.dropna()
    got = repr(str(present.iloc[0])) if len(present) else "missing values only"
    return StudyError("--column", f"{name!r} must hold {kind}s to be read as {kind}", got, "Choose category or skip.")


def _is_text(values: pd.Series) -> bool:
    typed = (pd.api.types.is_numeric_dtype, pd.api.types.is_bool_dtype)
    return not _is_time(values) and not any(check(values) for check in typed)


def _is_time(values: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values)


def _is_id(name: str, numbers: pd.Series) -> bool:
    whole = bool(numbers.notna().all() and numbers.is_unique and (numbers % 1 == 0).all())
    return whole and ID_NAME.search(name) is not None


def _row_number(described: Describe, values: pd.Series) -> tuple[Column, pd.Series]:
    return described("id", "a different whole number in every row", used=False), values


def _bounded(name: str, numbers: pd.Series) -> pd.Series:
    if (numbers.abs() > LARGEST).any():
        rule = f"column {name!r} must hold finite numbers"
        raise StudyError(COMMAND, rule, numbers.abs().max(), f"Remove or replace them, or leave it out: --column {name}=skip.")
    return numbers


def columns_table(columns: Sequence[Column]) -> Table:
    """Returns one row for each column; many neighbours that were read alike share one."""
    rows, marks = [], {}
    for _, group in groupby(columns, key=lambda each: each if each.missing or each.kind == "category" else each[1:3]):
        alike = list(group)
        shared = len(alike) >= FEWEST_ALIKE
        for each in alike[:1] if shared else alike:
            name = f"{each.name} to {alike[-1].name} ({len(alike)})" if shared else each.name
            if not each.used:
                marks[len(rows)] = "quiet"
            kind = each.kind if each.used else f"left out: {each.kind}"
            rows.append((name, kind, each.how, each.missing or None, each.levels if each.kind == "category" else None))
    return Table(("column", "read as", "how", "missing", "levels"), rows, "Columns", marks=marks)
