"""Numbers as people read them."""

import math

from thinnet.study.findings import Contrast
from thinnet.study.statistics import Interval
from thinnet.study.tasks import Task


def counted(number: int, noun: str) -> str:
    """Writes a number with its noun.

    Args:
        number: how many.
        noun: of what, in the singular.

    Returns:
        The two, in the right number.

    Example:
        >>> counted(1, "seed"), counted(3, "seed")
        ('1 seed', '3 seeds')
    """
    return f"{number} {noun}" + ("" if number == 1 else "s")


def quantity(error: float, task: Task) -> str:
    """Writes an error in its unit.

    Args:
        error: the error.
        task: knows the unit.

    Returns:
        The number as people read it.
    """
    return f"{task.error_factor * error:#.3g}".rstrip(".") + task.error_unit


def difference(contrast: Contrast, factor: float = 1.0, unit: str = "") -> str:
    """Puts a paired difference in words.

    Args:
        contrast: the quantity.
        factor: what it is shown times.
        unit: of what is shown.

    Returns:
        Such as "a difference of −0.020 (95 % interval −0.030 to −0.010)".
    """
    value, interval = factor * (contrast.chosen - contrast.without), contrast.interval
    if interval is None:
        return f"a difference of {signed(value, decimals(value))}{unit}"
    low, high = factor * interval.low, factor * interval.high
    value, low, high = (signed(number, decimals((high - low) / 2)) for number in (value, low, high))
    return f"a difference of {value}{unit} (95 % interval {low} to {high})"


def decimals(size: float) -> int:
    """Says how many decimals show two digits of a number of this size.

    Args:
        size: of what has to be seen.

    Returns:
        At least 0.

    Example:
        >>> decimals(0.05), decimals(12.0)
        (3, 0)
    """
    return max(0, 1 - math.floor(math.log10(abs(size)))) if size else 2


def signed(value: float, digits: int) -> str:
    """Writes a number with its sign, in the way of a printed text.

    Args:
        value: the number.
        digits: after the point.

    Returns:
        The text.
    """
    rounded = round(value, digits) + 0.0  # no minus before a zero
    return f"{rounded:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval_text(interval: Interval | None) -> str:
    """Writes an interval.

    Args:
        interval: of a difference of losses, or none.

    Returns:
        Its mean and its ends, or a dash.

    Example:
        >>> interval_text(Interval(-0.02, -0.03, -0.01)), interval_text(None)
        ('−0.020 [−0.030, −0.010]', '-')
    """
    if interval is None:
        return "-"
    mean, low, high = (signed(value, 3) for value in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"
