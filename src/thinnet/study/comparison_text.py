"""Comparisons of methods in words: is the test loss equal, within what bound, and at what share of the training time."""

from collections.abc import Sequence

from thinnet.report.formatting import decimals, listed, signed
from thinnet.report.table import Table
from thinnet.study.comparison import Comparison, Ratio
from thinnet.study.formatting import interval_text, quantity
from thinnet.study.results import Results
from thinnet.study.tasks import Task


def loss_sentences(results: Results, task: Task) -> list[str]:
    """Return for every method but the first one sentence on the compared rate, and one on all rates."""
    found = []
    for method in results.others:
        mine = results.compared(method)
        found += [_at_one_rate(each, task) for each in mine if each.rate == results.compared_rate]
        if len(mine) > 1 and mine[0].wide is not None:
            found.append(_at_all_rates(mine))
    return found


def time_sentences(results: Results) -> list[str]:
    """Return for every method but the first one sentence on its training time."""
    return [
        f"At p = {each.rate:g} {each.method} takes {ratio_text(each.seconds)} the training time of {each.against}, "
        f"and {ratio_text(each.seconds_to_target)} the time to the lowest validation loss that both reach."
        for each in results.comparisons
        if each.rate == results.compared_rate
    ]


def comparison_table(comparisons: Sequence[Comparison], task: Task) -> Table:
    """Return the comparisons of one method, one rate a row."""
    method, against = comparisons[0].method, comparisons[0].against
    losses = (f"test {task.loss_name}, {against}", method, "paired difference")
    head = ("p", *losses, f"{task.error_name}, {against}", method, "time, all epochs", "time to target")
    rows = [
        (
            f"{each.rate:g}",
            f"{each.loss_against:.4f}",
            f"{each.loss:.4f}",
            interval_text(each.interval),
            quantity(each.error_against, task),
            quantity(each.error, task),
            ratio_text(each.seconds),
            ratio_text(each.seconds_to_target),
        )
        for each in comparisons
    ]
    return Table(head, rows)


def ratio_text(ratio: Ratio) -> str:
    """Write a ratio of times with its interval, such as "0.42x (0.40 to 0.45)".

    Example:
        >>> ratio_text(Ratio(0.42, None))
        '0.42x'
    """
    ends = f" ({ratio.interval.low:.2f} to {ratio.interval.high:.2f})" if ratio.interval else ""
    return f"{ratio.mean:.2f}x{ends}"


def _at_one_rate(one: Comparison, task: Task) -> str:
    losses = f"a test {task.loss_name} of {one.loss:.3g} and {one.against} {one.loss_against:.3g}"
    reached = f"At p = {one.rate:g} {one.method} reaches {losses}"
    if one.interval is None:
        return f"{reached}; there are too few seeds for an interval."
    low, high = one.interval.low, one.interval.high
    bound = max(abs(low), abs(high))
    digits = decimals(bound)
    ends = f"95 % interval {signed(low, digits)} to {signed(high, digits)}"
    if low <= 0 <= high:
        return f"{reached}: equal within ±{bound:.{digits}f} ({ends})."
    return f"{reached}: not equal, {one.method} is {'worse' if low > 0 else 'better'} ({ends})."


def _at_all_rates(comparisons: Sequence[Comparison]) -> str:
    number, method = len(comparisons), comparisons[0].method
    worse = [f"{each.rate:g}" for each in comparisons if each.differs and each.loss > each.loss_against]
    better = [f"{each.rate:g}" for each in comparisons if each.differs and each.loss < each.loss_against]
    found = [f"{method} is {word} at p = {listed(rates)}" for word, rates in (("worse", worse), ("better", better)) if rates]
    start = f"Over all {number} rates, with intervals widened for their number,"
    return f"{start} {' and '.join(found)}." if found else f"{start} the data show no difference."
