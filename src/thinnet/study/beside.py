"""Methods beside each other, in words: is the test loss equal, within what, and at what share of the time."""

from collections.abc import Sequence

from thinnet.study.comparison import Comparison, Ratio
from thinnet.study.findings import Findings
from thinnet.study.tasks import Task
from thinnet.study.words import decimals, signed


def compared_rate(findings: Findings) -> float:
    """Chooses the rate at which methods are set side by side first.

    Args:
        findings: what the trials say.

    Returns:
        The rate above 0 with the lowest hold-out loss of the first method; 0 where there is none.
    """
    rest = [arm for arm in findings.arms if arm.rate > 0] or findings.arms
    return min(rest, key=lambda arm: arm.views["best"].validation_loss).rate


def quality(findings: Findings, task: Task) -> list[str]:
    """Says for every method beside the first how their test losses differ.

    Args:
        findings: what the trials say.
        task: names the loss.

    Returns:
        Two sentences a method: one of the rate at which they are compared first, one of the other rates.
    """
    rate, found = compared_rate(findings), []
    for method in findings.others:
        mine = [each for each in findings.comparisons if each.method == method]
        found += [at_one_rate(each, task) for each in mine if each.rate == rate]
        if len(mine) > 1 and mine[0].wide is not None:
            found.append(at_all_rates(mine))
    return found


def at_one_rate(one: Comparison, task: Task) -> str:
    """Says how two methods differ at one rate.

    Args:
        one: the comparison.
        task: names the loss.

    Returns:
        A sentence.
    """
    losses = f"a test {task.loss_name} of {one.loss:.3g} and {one.against} {one.loss_against:.3g}"
    reached = f"At p = {one.rate:g} {one.method} reaches {losses}"
    if one.interval is None:
        return f"{reached}; so few seeds cannot say how sure the difference is."
    low, high = one.interval.low, one.interval.high
    bound = max(abs(low), abs(high))
    digits = decimals(bound)
    ends = f"95 % interval {signed(low, digits)} to {signed(high, digits)}"
    if low <= 0 <= high:
        return f"{reached}: equal within ±{bound:.{digits}f} ({ends})."
    return f"{reached}: not equal, {one.method} is {'worse' if low > 0 else 'better'} ({ends})."


def at_all_rates(comparisons: Sequence[Comparison]) -> str:
    """Says at which rates two methods differ, with intervals widened for their number.

    Args:
        comparisons: of one method, one a rate.

    Returns:
        A sentence.
    """
    number, method = len(comparisons), comparisons[0].method
    worse = [f"{each.rate:g}" for each in comparisons if each.differs and each.loss > each.loss_against]
    better = [f"{each.rate:g}" for each in comparisons if each.differs and each.loss < each.loss_against]
    said = [f"{method} is {word} at p = {listed(rates)}" for word, rates in (("worse", worse), ("better", better)) if rates]
    if not said:
        return f"Over all {number} rates, with intervals widened for their number, no difference is shown."
    return f"Over all {number} rates, with intervals widened for their number, {' and '.join(said)}."


def pace(findings: Findings) -> list[str]:
    """Says for every method beside the first how long it trains.

    Args:
        findings: what the trials say.

    Returns:
        A sentence a method.
    """
    rate = compared_rate(findings)
    return [
        f"At p = {rate:g} {each.method} trains in {share(each.seconds)} of the time of {each.against}, and gets to the lowest "
        f"hold-out loss that both reach in {share(each.seconds_to_target)}."
        for each in findings.comparisons
        if each.rate == rate
    ]


def share(ratio: Ratio) -> str:
    """Writes a ratio of times.

    Args:
        ratio: with or without an interval.

    Returns:
        Such as "0.42x (0.40 to 0.45)".

    Example:
        >>> share(Ratio(0.42, None))
        '0.42x'
    """
    ends = f" ({ratio.interval.low:.2f} to {ratio.interval.high:.2f})" if ratio.interval else ""
    return f"{ratio.mean:.2f}x{ends}"


def listed(names: Sequence[str]) -> str:
    """Writes names one after the other.

    Args:
        names: one or more.

    Returns:
        The text.

    Example:
        >>> listed(["0.2", "0.5", "0.8"])
        '0.2, 0.5 and 0.8'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
