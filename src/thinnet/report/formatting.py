"""Numbers and lists as people read them."""

import math
import re
import textwrap
from collections.abc import Sequence

MINUS, NO_BREAK = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


def cell(value: object) -> str:
    """Formats one cell of a table: floats with three significant digits, None as nothing.

    >>> cell(0.12345), cell(12), cell(None), cell("a")
    ('0.123', '12', '', 'a')
    """
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def counted(number: int, noun: str) -> str:
    """Writes a number with its noun.

    >>> counted(1, "seed"), counted(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{number} {noun}" + ("" if number == 1 else "s")


def listed(names: Sequence[str]) -> str:
    """Writes names as a list.

    >>> listed(["0.2", "0.5", "0.8"])
    '0.2, 0.5 and 0.8'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def decimals(size: float) -> int:
    """Returns how many decimals show two digits of a number of this size.

    >>> decimals(0.05), decimals(12.0)
    (3, 0)
    """
    return max(0, 1 - math.floor(math.log10(abs(size)))) if size else 2


def signed(value: float, digits: int) -> str:
    """Writes a number with its sign and a true minus.

    >>> signed(0.5, 1), signed(-0.01, 1)
    ('+0.5', '+0.0')
    """
    rounded = round(value, digits) + 0.0  # no minus before a zero
    return f"{rounded:+.{digits}f}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """Writes a duration as people do.

    >>> duration(42), duration(400), duration(9000)
    ('42 s', '7 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def unbroken(text: str) -> str:
    """Keeps `p = 0.5` and `95 %` on one line."""
    return re.sub(r"(?<=\bp) = (?=\d)", f"{NO_BREAK}={NO_BREAK}", text).replace(" %", f"{NO_BREAK}%")


def filled(text: str, width: int, indent: str = "") -> str:
    """Breaks text into lines for a terminal; `p = 0.5` and `95 %` stay on one line, which Rich does not do.

    >>> print(filled("The network is trained at p = 0.5 here.", 30))
    The network is trained at
    p = 0.5 here.
    """
    lines = textwrap.fill(unbroken(text), width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return lines.replace(NO_BREAK, " ")
