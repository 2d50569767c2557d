"""Numbers and dates that a table holds as text."""

import re
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

MISSING = frozenset({"?", "-", "--", ".", "..", "\u2013", "\u2014", "#div/0!", "#ref!", "#value!"})
MISSING_WORDS = frozenset({"na", "n.a.", "n/a", "nil", "none", "missing"})
"""Texts, in lower case, that mark a missing value beside those that pandas knows."""

ENOUGH = 0.95
"""The share of the values that must be numbers; the others count as missing."""

CURRENCY = r"[$€£¥₹]|USD|EUR|GBP|CHF|JPY|INR"
SPACES = r"[\u00a0\u2007\u2009\u202f]"


class Style(NamedTuple):
    """A decimal separator and a separator of thousands."""

    decimal: str
    thousands: str


POINT, COMMA = Style(".", ""), Style(",", "")
STYLES = (POINT, Style(".", ","), COMMA, Style(",", "."), Style(".", " "), Style(",", " "), Style(".", "'"))


class Numbers(NamedTuple):
    """The numbers of a column.

    Args:
        values: one float64 a row, missing values included.
        style: how they are written.
        how: the same in words.
        not_numbers: texts that are no number and count as missing.
    """

    values: pd.Series
    style: Style
    how: str
    not_numbers: list[str]


def without_markers(column: pd.Series, words: bool = True) -> pd.Series:
    """Strips text, and replaces markers of missing values by missing values.

    Args:
        column: text.
        words: whether words such as "none" are markers: they may be the name of a class.

    Example:
        >>> without_markers(pd.Series([" a", "?", "N/A"])).isna().tolist()
        [False, True, True]
    """
    text = column.astype("object").map(lambda value: str(value).strip(), na_action="ignore")
    markers = MISSING | {""} | (MISSING_WORDS if words else set())
    return text.mask(text.map(lambda value: value.lower() in markers, na_action="ignore").eq(True))


def text_as_numbers(text: pd.Series, comma: bool = False, enough: float = ENOUGH) -> Numbers | None:
    """Reads text as numbers with thousands, decimal commas, currencies, percent signs and accounting parentheses.

    Args:
        text: stripped text, with missing values.
        comma: whether the file writes decimal commas: then `1.234` is more than a thousand.
        enough: the share of the present values that must be numbers.

    Returns:
        None where too few values are numbers.

    Example:
        >>> text_as_numbers(pd.Series(["$1,234.50", "$2"])).values.tolist()
        [1234.5, 2.0]
        >>> text_as_numbers(pd.Series(["1,5", "2"])).values.tolist()
        [1.5, 2.0]
    """
    present = text.dropna()
    if present.empty:
        return None
    bare, marks = _bare(present)
    styles = sorted(STYLES, key=lambda style: style.decimal != ",") if comma else STYLES
    shares = [float(bare.str.fullmatch(_pattern(style)).mean()) for style in styles]
    best = int(np.argmax(shares))
    if shares[best] < enough:
        return None
    values = numbers_in(text, styles[best])
    others = present[values[present.index].isna()].unique().tolist()
    return Numbers(values, styles[best], _in_words(styles[best], bare, marks), others)


def numbers_in(text: pd.Series, style: Style) -> pd.Series:
    """Reads text as numbers of one style; what is no number is missing.

    Example:
        >>> numbers_in(pd.Series(["1.234,5", "7 %", "?"]), Style(",", ".")).tolist()
        [1234.5, 7.0, nan]
    """
    bare = _bare(text.dropna())[0]
    plain = bare[bare.str.fullmatch(_pattern(style)).astype(bool)]
    plain = plain.str.replace(style.thousands, "", regex=False) if style.thousands else plain
    return plain.str.replace(style.decimal, ".", regex=False).astype("float64").reindex(text.index)


def _bare(present: pd.Series) -> tuple[pd.Series, list[str]]:
    """Removes signs of currency and percent, and turns parentheses into a minus; returns what was found as well."""
    text = present.astype("str").str.replace("\N{MINUS SIGN}", "-").str.replace(SPACES, " ", regex=True)
    text = text.str.replace(r"^\((.*)\)$", r"-\1", regex=True)
    found = text.str.extract(f"({CURRENCY})", expand=False).dropna()
    marks = [f"in {found.mode().iloc[0]}"] if len(found) else []
    text = text.str.replace(rf"^([-+]?)\s*(?:{CURRENCY})\s*", r"\1", regex=True)
    text = text.str.replace(rf"\s*(?:{CURRENCY})$", "", regex=True)
    percent = text.str.endswith("%")
    return text.str.replace(r"\s*%$", "", regex=True), marks + (["in percent"] if percent.any() else [])


def _pattern(style: Style) -> str:
    decimal = re.escape(style.decimal)
    whole = r"\d+"
    if style.thousands:
        whole = rf"(?:[1-9]\d{{0,2}}(?:{re.escape(style.thousands)}\d{{3}})+|\d+)"
    return rf"[-+]?(?:{whole}(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][-+]?\d+)?"


def _in_words(style: Style, bare: pd.Series, marks: list[str]) -> str:
    commas = style.decimal == "," and bool(bare.str.contains(",", regex=False).any())
    parts = ["decimal comma"] if commas else []
    if style.thousands:
        parts.append(f"thousands separated by {style.thousands!r}")
    return ", ".join(parts + marks)


def text_as_dates(text: pd.Series) -> tuple[pd.Series, str] | None:
    """Reads text that is a date in every row as seconds since 1970, and returns the format as well.

    Example:
        >>> dates, how = text_as_dates(pd.Series(["31.01.1970", "01.02.1970"]))
        >>> float(dates.diff().iloc[-1]), how
        (86400.0, '%d.%m.%Y')
    """
    present = text.dropna()
    if present.empty:
        return None
    first = str(present.iloc[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an order of day and month that does not matter
        guesses = [guess_datetime_format(first, dayfirst=order) for order in ("." in first, "." not in first)]
    for form in dict.fromkeys(guesses):
        if form is None or "%Y" not in form:
            continue
        dates = dates_in(text, form)
        if dates.notna().sum() == len(present):
            return dates, form
    return None


def dates_in(text: pd.Series, form: str) -> pd.Series:
    """Reads text as dates of one format, to seconds since 1970; what is no such date is missing."""
    parsed = pd.to_datetime(text, format="ISO8601" if form.startswith("%Y-%m-%d") else form, errors="coerce", utc=True)
    return seconds(parsed.dt.tz_localize(None))


def seconds(times: pd.Series) -> pd.Series:
    """Converts dates or durations to seconds; missing ones stay missing."""
    unit = "timedelta64[s]" if pd.api.types.is_timedelta64_dtype(times) else "datetime64[s]"
    stamps = times.dt.tz_localize(None) if getattr(times.dt, "tz", None) is not None else times
    return stamps.astype(unit).astype("int64").astype("float64").mask(times.isna())
