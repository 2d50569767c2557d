"""The figures that compare methods: difference on the test set, and training time."""

from typing import Any

import numpy as np

from thinnet.report.figure import Figure, axis
from thinnet.study.data.tasks import Task
from thinnet.study.findings.comparison import Comparison
from thinnet.study.findings.cost import Ratio
from thinnet.study.report.traces import GHOST, TRAIN, ZERO, dotted, error_bars, line, plot, rate_axis

ASIDE = 0.006
"""The horizontal distance between two methods, so that both intervals are visible."""


def differences(comparisons: list[Comparison], task: Task) -> Figure:
    """Returns the paired difference on the test set by rate; thin bars are the intervals for all rates together."""
    rates = [each.rate for each in comparisons]
    values = np.array([each.loss - each.loss_against for each in comparisons])
    trace = line(rates, values, TRAIN, "difference") | {"mode": "markers", "marker": {"color": TRAIN, "size": 9}}
    traces = [trace | {"hovertemplate": "%{y:+.3g}"}]
    if wide := [each.wide for each in comparisons if each.wide]:
        ghost = trace | {"marker": {"color": TRAIN, "size": 1}, "hoverinfo": "skip", "hovertemplate": None}
        traces.insert(0, ghost | {"error_y": error_bars(wide, GHOST)})
    if intervals := [each.interval for each in comparisons if each.interval]:
        traces[-1]["error_y"] = error_bars(intervals, TRAIN) | {"thickness": 3}
    return plot(traces, rate_axis(rates), axis(f"difference of the test {task.loss_name}", **ZERO))


def times(comparisons: list[Comparison]) -> Figure:
    """Returns the ratio of training times by rate: all epochs, and to the lowest loss that both methods reach."""
    rates = [each.rate for each in comparisons]
    whole, target = [each.seconds for each in comparisons], [each.seconds_to_target for each in comparisons]
    traces = [_ratios(rates, target, GHOST, "to the lowest validation loss that both reach", ASIDE)]
    traces.append(_ratios(rates, whole, TRAIN, "for all epochs", 0.0))
    top = max(1.0, *(ratio.interval.high if ratio.interval else ratio.mean for ratio in (*whole, *target)))
    one: dict[str, Any] = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1}
    one["line"] = {"color": "--ink", "width": 1.5}
    return plot(traces, rate_axis(rates), axis("ratio of the times", range=[0, 1.08 * min(top, 4.0)]), shapes=[one])


def _ratios(rates: list[float], ratios: list[Ratio], colour: str, name: str, aside: float) -> dict[str, Any]:
    trace = dotted([rate + aside for rate in rates], np.array([ratio.mean for ratio in ratios]), colour, name, size=8)
    trace["hovertemplate"] = "%{y:.2f}x"
    if intervals := [ratio.interval for ratio in ratios if ratio.interval]:
        trace["error_y"] = error_bars(intervals, colour)
    return trace
