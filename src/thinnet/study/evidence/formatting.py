"""Errors, differences and intervals as people read them."""

from thinnet.report.formatting import decimals, signed
from thinnet.study.data.tasks import Task
from thinnet.study.evidence.contrast import Contrast
from thinnet.study.evidence.statistics import Interval


def quantity(error: float, task: Task) -> str:
    """Writes an error in its unit."""
    return f"{task.error_factor * error:#.3g}".rstrip(".") + task.error_unit


def change(contrast: Contrast) -> str:
    """Writes two losses with as many decimals as their difference needs.

    Example:
        >>> change(Contrast(1.6147, 1.6213, None)), change(Contrast(0.906, 0.938, None))
        ('from 1.6213 to 1.6147', 'from 0.938 to 0.906')
    """
    values = (contrast.without, contrast.chosen)
    least = decimals(max(map(abs, values))) + 1
    digits = min(max(least, decimals(contrast.chosen - contrast.without)), least + 3)
    one, other = (f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}" for value in values)
    return f"from {one} to {other}"


def difference(contrast: Contrast, factor: float = 1.0, unit: str = "") -> str:
    """Writes a paired difference, such as "a difference of −0.020 (95 % interval −0.030 to −0.010)".

    An interval that is corrected for several comparisons says so.
    """
    value, interval = factor * (contrast.chosen - contrast.without), contrast.interval
    if interval is None:
        return f"a difference of {signed(value, decimals(value))}{unit}"
    low, high = factor * interval.low, factor * interval.high
    digits = digits_of(low, high, decimals((high - low) / 2))
    value, low, high = (signed(number, digits) for number in (value, low, high))
    several = contrast.evidence.comparisons if contrast.evidence else 1
    corrected = f" corrected for {several} comparisons," if several > 1 else ""
    return f"a difference of {value}{unit} (95 % interval{corrected} {low} to {high})"


def digits_of(low: float, high: float, least: int) -> int:
    """Returns the decimals of an interval: at least `least`, and so many that an interval that excludes zero looks like it.

    Example:
        >>> digits_of(-0.02, -0.0003, 3), digits_of(-0.02, 0.0003, 3)
        (4, 3)
    """
    nearest = min(abs(low), abs(high))
    return least if low <= 0 <= high or round(nearest, least) else decimals(nearest) - 1


def interval_text(interval: Interval | None) -> str:
    """Writes the mean and the ends of an interval of a difference of losses.

    Example:
        >>> interval_text(Interval(-0.02, -0.03, -0.01)), interval_text(None)
        ('−0.020 [−0.030, −0.010]', '-')
        >>> interval_text(Interval(-0.01, -0.02, -0.0003))
        '−0.0100 [−0.0200, −0.0003]'
    """
    if interval is None:
        return "-"
    digits = digits_of(interval.low, interval.high, 3)
    mean, low, high = (signed(value, digits) for value in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"
