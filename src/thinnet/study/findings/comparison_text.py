"""Comparisons of methods in words: is the test loss equal, within what bound, and at what share of the training time."""

from collections.abc import Sequence

from thinnet.report.formatting import decimals, listed, signed
from thinnet.report.table import Table
from thinnet.study.data.tasks import Task
from thinnet.study.design.configuration import BASELINE, Line
from thinnet.study.evidence.formatting import difference, digits_of, interval_text, quantity
from thinnet.study.findings.comparison import Comparison
from thinnet.study.findings.cost import ratio_text
from thinnet.study.findings.results import Results


def loss_sentences(results: Results, task: Task) -> list[str]:
    """Returns for every line but the first one sentence on one rate, and one on all rates."""
    found = []
    for mine in by_line(results.comparisons):
        found += [_at_one_rate(each, task) for each in mine if each.rate == shown_rate(mine, results)]
        if len(mine) > 1 and mine[0].wide is not None:
            found.append(_at_all_rates(mine))
    return found


def rival_sentences(results: Results, task: Task) -> list[str]:
    """Returns one sentence for each rival: the chosen configuration less the rival, on the test set."""
    ours = _chosen(results)
    sentences = []
    for rival, pair in results.rivals.items():
        loss, error, standing = pair["loss"], pair["error"], "not enough evidence for either"
        if loss.evidence is not None and (loss.evidence.better or loss.evidence.worse):
            standing = f"{ours} is {'better' if loss.evidence.better else 'worse'}"
        reached = f"a test {task.loss_name} of {loss.without:.3g}, {ours} {loss.chosen:.3g}"
        errors = f"The {task.error_name} is {quantity(error.without, task)} against {quantity(error.chosen, task)}."
        sentences.append(f"{_capital(rival.label)} reaches {reached}: {difference(loss)}; {standing}. {errors}")
    return sentences


def rival_cost_sentences(results: Results) -> list[str]:
    """Returns one sentence on the training time of each rival that was trained."""
    return [
        f"A trial of {rival.label} takes {results.at(rival).seconds:.3g} s, {ratio_text(found)} the time of {_chosen(results)}."
        for rival, found in results.rival_costs.items()
    ]


def time_sentences(results: Results) -> list[str]:
    """Returns for every line but the first one sentence on its training time."""
    return [
        f"At p = {each.rate:g} {each.method} takes {ratio_text(each.seconds)} the training time of {each.against}, "
        f"and {ratio_text(each.seconds_to_target)} the time to the lowest validation loss that both reach."
        for mine in by_line(results.comparisons)
        for each in mine
        if each.rate == shown_rate(mine, results)
    ]


def _chosen(results: Results) -> str:
    return "training without dropout" if results.chosen == BASELINE else results.chosen.label


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def by_line(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    """Returns the comparisons of each line."""
    lines: dict[Line, list[Comparison]] = {}
    for each in comparisons:
        lines.setdefault(each.line, []).append(each)
    return list(lines.values())


def shown_rate(comparisons: Sequence[Comparison], results: Results) -> float:
    """Returns the rate that the sentences are about: that of the best configuration, or else the first that was compared."""
    rates = [each.rate for each in comparisons]
    return results.compared.rate if results.compared.rate in rates else rates[0]


def comparison_table(comparisons: Sequence[Comparison], task: Task) -> Table:
    """Returns the comparisons of one line, one rate a row."""
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


def _at_one_rate(one: Comparison, task: Task) -> str:
    losses = f"a test {task.loss_name} of {one.loss:.3g} and {one.against} {one.loss_against:.3g}"
    reached = f"At p = {one.rate:g} {one.method} reaches {losses}"
    if one.interval is None:
        return f"{reached}; there are too few seeds for an interval."
    low, high = one.interval.low, one.interval.high
    bound = max(abs(low), abs(high))
    digits = digits_of(low, high, decimals(bound))
    ends = f"95 % interval {signed(low, digits)} to {signed(high, digits)}"
    if low <= 0 <= high:
        return f"{reached}: equal within ±{bound:.{digits}f} ({ends})."
    if one.evidence is None or not (one.evidence.better or one.evidence.worse):
        return f"{reached}: not enough evidence for either ({ends})."
    return f"{reached}: not equal, {one.method} is {'worse' if one.evidence.worse else 'better'} ({ends})."


def _at_all_rates(comparisons: Sequence[Comparison]) -> str:
    number, method = len(comparisons), comparisons[0].method
    worse = [f"{each.rate:g}" for each in comparisons if each.evidence and each.evidence.worse]
    better = [f"{each.rate:g}" for each in comparisons if each.evidence and each.evidence.better]
    found = [f"{method} is {word} at p = {listed(rates)}" for word, rates in (("worse", worse), ("better", better)) if rates]
    start = f"Over all {number} rates, corrected for their number (Holm),"
    return f"{start} {' and '.join(found)}." if found else f"{start} there is not enough evidence of a difference."
