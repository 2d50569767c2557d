"""The figures that set methods beside each other, as Plotly specifications: hold-out loss, test difference, and time."""

from typing import Any

import numpy as np

from thinnet.study.comparison import Comparison, Ratio
from thinnet.study.figures import GHOST, HOLD_OUT, LOG_TICKS, TRAIN, Figure
from thinnet.study.findings import Findings
from thinnet.study.tasks import Task
from thinnet.study.traces import axis, error_bars, line, rate_axis

ASIDE = 0.006
"""How far two methods are moved apart along the axis of rates, so that both intervals are seen."""


def curves(findings: Findings, task: Task) -> Figure:
    """Draws the hold-out loss of each method against the rate, each trial at its best epoch.

    Args:
        findings: what the trials say.
        task: names the loss.

    Returns:
        The figure.
    """
    first = findings.comparisons[0].against
    traces, losses = [], []
    for place, (method, arms) in enumerate({first: findings.arms, **findings.others}.items()):
        colour = (HOLD_OUT, TRAIN)[min(place, 1)]
        glances = [arm.views["best"] for arm in arms]
        values = np.array([glance.validation_loss for glance in glances])
        trace = line([arm.rate + ASIDE * place for arm in arms], values, colour, method)
        trace |= {"mode": "lines+markers", "marker": {"size": 7, "color": colour}}
        if intervals := [glance.interval for glance in glances if glance.interval]:
            trace["error_y"] = error_bars(intervals, colour)
        traces.append(trace)
        losses += values.tolist()
    kind = {"type": "log", "tickvals": LOG_TICKS} if max(losses) > 3 * min(losses) > 0 else {}
    rates = [arm.rate for arm in findings.arms]
    return {"data": traces, "layout": {"xaxis": rate_axis(rates), "yaxis": axis(f"hold-out {task.loss_name}") | kind}}


def differences(comparisons: list[Comparison], task: Task) -> Figure:
    """Draws the paired difference on the test rows against the rate.

    Args:
        comparisons: of one method.
        task: names the loss.

    Returns:
        The figure; a thin bar is the interval of one rate, a thinner one that of all rates together.
    """
    rates = [each.rate for each in comparisons]
    values = np.array([each.loss - each.loss_against for each in comparisons])
    trace = line(rates, values, TRAIN, "difference") | {"mode": "markers", "marker": {"color": TRAIN, "size": 9}}
    traces = [trace | {"hovertemplate": "%{y:+.3g}"}]
    if wide := [each.wide for each in comparisons if each.wide]:
        ghost = trace | {"marker": {"color": TRAIN, "size": 1}, "hoverinfo": "skip", "hovertemplate": None}
        traces.insert(0, ghost | {"error_y": error_bars(wide, GHOST)})
    if intervals := [each.interval for each in comparisons if each.interval]:
        traces[-1]["error_y"] = error_bars(intervals, TRAIN) | {"thickness": 3}
    method, against = comparisons[0].method, comparisons[0].against
    zero = {"zeroline": True, "zerolinecolor": "--ink", "zerolinewidth": 1.5}
    title = f"test {task.loss_name}, {method} less {against}"
    return {"data": traces, "layout": {"xaxis": rate_axis(rates), "yaxis": axis(title) | zero}}


def times(comparisons: list[Comparison]) -> Figure:
    """Draws the ratio of training times against the rate: for all epochs, and to the lowest loss that both reach.

    Args:
        comparisons: of one method.

    Returns:
        The figure; the line at 1 is the first method.
    """
    rates = [each.rate for each in comparisons]
    whole, target = [each.seconds for each in comparisons], [each.seconds_to_target for each in comparisons]
    traces = [ratio_trace(rates, target, GHOST, "to the lowest hold-out loss that both reach", ASIDE)]
    traces.append(ratio_trace(rates, whole, TRAIN, "for all epochs", 0.0))
    top = max(1.0, *(ratio.interval.high if ratio.interval else ratio.mean for ratio in (*whole, *target)))
    one: dict[str, Any] = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1}
    one["line"] = {"color": "--ink", "width": 1.5}
    title = f"time, {comparisons[0].method} over {comparisons[0].against}"
    layout = {"xaxis": rate_axis(rates), "yaxis": axis(title) | {"range": [0, 1.08 * min(top, 4.0)]}, "shapes": [one]}
    return {"data": traces, "layout": layout}


def ratio_trace(rates: list[float], ratios: list[Ratio], colour: str, name: str, aside: float) -> dict[str, Any]:
    """Describes ratios of times with their intervals."""
    trace = line([rate + aside for rate in rates], np.array([ratio.mean for ratio in ratios]), colour, name)
    trace |= {"mode": "lines+markers", "marker": {"size": 8, "color": colour}, "hovertemplate": "%{y:.2f}x"}
    if intervals := [ratio.interval for ratio in ratios if ratio.interval]:
        trace["error_y"] = error_bars(intervals, colour)
    return trace
