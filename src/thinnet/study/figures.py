"""The figures of the report as Plotly specifications; a colour that starts with -- is a property of the style sheet."""

from typing import Any

import numpy as np

from thinnet.study.findings import Arm, Findings
from thinnet.study.tasks import Task
from thinnet.study.traces import axis, error_bars, line, numbers, rate_axis, words

Figure = dict[str, Any]
HOLD_OUT, TRAIN, GHOST = "--hold-out", "--train", "--ghost"
BAND = "--hold-out-band"
LOG_TICKS = [float(f"{digit}e{power}") for power in range(-6, 6) for digit in (1, 2, 5)]


def learning_curves(findings: Findings, task: Task) -> dict[str, dict[str, Figure]]:
    """Draws for every rate training and hold-out against the epoch, all to one scale.

    Args:
        findings: what the trials say.
        task: names the quantities.

    Returns:
        For `loss` and `error`, a figure for each rate, written as text.
    """
    figures = {}
    for name, factor, unit in (("loss", 1.0, ""), ("error", task.error_factor, task.error_unit)):
        top = upper_bound(findings.arms, f"validation_{name}") * factor
        base = findings.arms[0]
        figures[name] = {f"{arm.rate:g}": panel(arm, base, name, factor, unit, top) for arm in findings.arms}
    return figures


def upper_bound(arms: list[Arm], name: str) -> float:
    """Finds where to cut the curves off above, so that the turn of the hold-out is seen and not the first epochs."""
    lowest = min(float(arm.curves[name][0].min()) for arm in arms)
    ends = [float(arm.curves[name][0][-1]) for arm in arms]
    return max(1.15 * min(max(ends), 4 * lowest), 2 * lowest, 1e-9)


def panel(arm: Arm, base: Arm, name: str, factor: float, unit: str, top: float) -> Figure:
    """Draws one rate: the hold-out with its range over seeds, the training rows, and the hold-out without dropout.

    Args:
        arm: the rate.
        base: rate 0.
        name: `loss` or `error`.
        factor: what values are shown times.
        unit: of what is shown.
        top: the upper end of the axis.

    Returns:
        The figure.
    """
    held, train = (factor * arm.curves[f"{part}_{name}"] for part in ("validation", "train"))
    epochs = list(range(1, held.shape[1] + 1))
    best = int(held[0].argmin())
    edge = {"x": epochs, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    traces = [
        edge | {"y": numbers(held[1])},
        edge | {"y": numbers(held[2]), "fill": "tonexty", "fillcolor": BAND},
        line(epochs, factor * base.curves[f"validation_{name}"][0], GHOST, "hold-out, p = 0", dash="dot"),
        line(epochs, train[0], TRAIN, "training"),
        line(epochs, held[0], HOLD_OUT, "hold-out"),
        {
            "x": [best + 1],
            "y": [float(held[0][best])],
            "mode": "markers",
            "cliponaxis": False,
            "name": "lowest",
            "marker": {"color": HOLD_OUT, "size": 8, "line": {"color": "--paper", "width": 2}},
            "hovertemplate": f"lowest: %{{y:.4g}}{unit} after epoch %{{x}}<extra></extra>",
        },
    ]
    if arm.rate == base.rate:
        del traces[2]
    layout = {
        "xaxis": {"range": [0, epochs[-1] + 1], "nticks": 5},
        "yaxis": axis("") | {"range": [0, top], "nticks": 5, "ticksuffix": unit},
        "hovermode": "x unified",
    }
    if held[0].min() > top:
        text = f"above: {held[0][-1]:.3g}{unit}"
        layout["annotations"] = [words(text, (epochs[-1] + 1) / 2, top / 2, GHOST, "center")]
    return {"data": traces, "layout": layout}


def labelled(figure: Figure) -> Figure:
    """Names the axis of a panel and its lowest and last hold-out value, for where it is drawn large.

    Args:
        figure: a panel.

    Returns:
        A copy with these words.
    """
    held, lowest = figure["data"][-2], figure["data"][-1]
    best, end = lowest["x"][0], held["x"][-1]
    points = [(best, lowest["y"][0], "left" if best < 0.2 * end else "center")]
    if best < 0.8 * end:
        points.append((end, held["y"][-1], "right"))
    notes = [words(f"{y:.3g}", x, y, HOLD_OUT, anchor) | {"yshift": 14} for x, y, anchor in points]
    layout = figure["layout"]
    named = {"xaxis": layout["xaxis"] | axis("epoch"), "annotations": [*layout.get("annotations", []), *notes]}
    return figure | {"layout": layout | named}


def rate_curve(findings: Findings, task: Task) -> Figure:
    """Draws the hold-out loss against the rate, with early stopping and without.

    Args:
        findings: what the trials say.
        task: names the loss.

    Returns:
        The figure.
    """
    rates = [arm.rate for arm in findings.arms]
    traces = []
    for view, label, colour, dash in (("last", "last epoch", GHOST, "dot"), ("best", "best epoch", HOLD_OUT, "solid")):
        glances = [arm.views[view] for arm in findings.arms]
        values = np.array([glance.validation_loss for glance in glances])
        trace = line(rates, values, colour, label, dash=dash)
        trace |= {"mode": "lines+markers", "marker": {"size": 7, "color": colour}}
        if intervals := [glance.interval for glance in glances if glance.interval]:
            trace["error_y"] = error_bars(intervals, colour)
        traces.append(trace)
    traces.append(
        {
            "x": [findings.chosen],
            "y": [findings.arm(findings.chosen).views["best"].validation_loss],
            "mode": "markers",
            "cliponaxis": False,
            "name": "chosen",
            "marker": {"color": "--paper", "size": 13, "line": {"color": HOLD_OUT, "width": 3}},
            "hovertemplate": f"chosen: p = {findings.chosen:g}<extra></extra>",
        }
    )
    losses = [glance.validation_loss for arm in findings.arms for glance in arm.views.values()]
    kind = {"type": "log", "tickvals": LOG_TICKS} if max(losses) > 3 * min(losses) > 0 else {}
    return {"data": traces, "layout": {"xaxis": rate_axis(rates), "yaxis": axis(f"hold-out {task.loss_name}") | kind}}


def gaps(findings: Findings, task: Task) -> Figure:
    """Draws for every rate how far the hold-out loss is above the training loss after the last epoch.

    Args:
        findings: what the trials say.
        task: names the loss.

    Returns:
        The figure.
    """
    rates = [arm.rate for arm in findings.arms]
    last = [arm.views["last"] for arm in findings.arms]
    stems_x = [x for rate in rates for x in (rate, rate, None)]
    stems_y = [y for glance in last for y in (glance.train_loss, glance.validation_loss, None)]
    dots = [
        {
            "x": rates,
            "y": values,
            "mode": "markers",
            "cliponaxis": False,
            "name": label,
            "marker": {"color": colour, "size": 9},
            "hovertemplate": f"{label} at p = %{{x}}: %{{y:.4g}}<extra></extra>",
        }
        for label, colour, values in (
            ("training", TRAIN, [glance.train_loss for glance in last]),
            ("hold-out", HOLD_OUT, [glance.validation_loss for glance in last]),
        )
    ]
    stems = {"x": stems_x, "y": stems_y, "mode": "lines", "line": {"color": "--rule", "width": 5}, "hoverinfo": "skip"}
    layout = {"xaxis": rate_axis(rates), "yaxis": axis(f"{task.loss_name}, last epoch") | {"rangemode": "tozero"}}
    return {"data": [stems, *dots], "layout": layout}


def difference(findings: Findings, name: str, factor: float, unit: str) -> Figure:
    """Draws the paired differences on the test rows against zero.

    Args:
        findings: what the trials say.
        name: `loss` or `error`.
        factor: what values are shown times.
        unit: of what is shown.

    Returns:
        The figure, with a row for the weights of the best epoch and one for those of the last.
    """
    rows = [("last epoch", findings.test["last"][name]), ("best epoch", findings.test["best"][name])]
    values = [factor * (contrast.chosen - contrast.without) for _, contrast in rows]
    trace: dict[str, Any] = {
        "x": values,
        "y": [label for label, _ in rows],
        "mode": "markers",
        "marker": {"color": HOLD_OUT, "size": 11},
        "hovertemplate": f"%{{y}}: %{{x:+.3g}}{unit}<extra></extra>",
    }
    intervals = [contrast.interval for _, contrast in rows if contrast.interval]
    if intervals:
        trace["error_x"] = error_bars(intervals, HOLD_OUT, factor)
    layout = {
        "xaxis": axis("") | {"zeroline": True, "zerolinecolor": "--ink", "zerolinewidth": 1.5, "nticks": 6},
        "yaxis": axis("") | {"range": [-0.7, 1.7], "showgrid": False},
    }
    return {"data": [trace], "layout": layout}
