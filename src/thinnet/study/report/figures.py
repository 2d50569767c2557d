"""The figures of the report."""

from typing import Any

import numpy as np

from thinnet.report.figure import Figure, axis
from thinnet.study.data.tasks import Task
from thinnet.study.findings.results import Outcome, Results
from thinnet.study.report.traces import (
    BAND,
    GHOST,
    TRAIN,
    VALIDATION,
    ZERO,
    dotted,
    error_bars,
    label,
    line,
    loss_axis,
    plot,
    rate_axis,
    rounded,
)


def learning_curves(results: Results, task: Task) -> dict[str, dict[str, Figure]]:
    """Returns, for `loss` and `error`, a figure a rate: training and validation by epoch, all to one scale."""
    figures = {}
    for name, factor, unit in (("loss", 1.0, ""), ("error", task.error_factor, task.error_unit)):
        top = _upper_bound(results.rates, f"validation_{name}") * factor
        base = results.rates[0]
        figures[name] = {f"{each.rate:g}": _curves(each, base, name, factor, unit, top) for each in results.rates}
    return figures


def labelled(figure: Figure) -> Figure:
    """Returns a copy of a learning curve with its lowest and last validation value written out, to be drawn large."""
    validation, lowest = figure["data"][-2], figure["data"][-1]
    best, end = lowest["x"][0], validation["x"][-1]
    points = [(best, lowest["y"][0], "left" if best < 0.2 * end else "center")]
    if best < 0.8 * end:
        points.append((end, validation["y"][-1], "right"))
    notes = [label(f"{y:.3g}", x, y, VALIDATION, anchor) | {"yshift": 14} for x, y, anchor in points]
    layout = figure["layout"]
    named = {"xaxis": layout["xaxis"] | axis("epoch"), "annotations": [*layout.get("annotations", []), *notes]}
    return figure | {"layout": layout | named}


def rate_curve(results: Results, task: Task) -> Figure:
    """Returns the validation loss by rate, at the best and at the last epoch, and that of the rivals at their best."""
    rates = [each.rate for each in results.rates]
    traces = []
    for view, name, colour, dash in (("last", "last epoch", GHOST, "dot"), ("best", "best epoch", VALIDATION, "solid")):
        summaries = [each.views[view] for each in results.rates]
        trace = dotted(rates, np.array([summary.validation_loss for summary in summaries]), colour, name, dash=dash)
        if intervals := [summary.interval for summary in summaries if summary.interval]:
            trace["error_y"] = error_bars(intervals, colour)
        traces.append(trace)
    traces.append(
        {
            "x": [results.chosen.rate],
            "y": [results.at(results.chosen).views["best"].validation_loss],
            "mode": "markers",
            "cliponaxis": False,
            "name": "chosen",
            "marker": {"color": "--paper", "size": 13, "line": {"color": VALIDATION, "width": 3}},
            "hovertemplate": f"chosen: {results.chosen.label}<extra></extra>",
        }
    )
    losses = [summary.validation_loss for each in results.rates for summary in each.views.values()]
    rivals = [results.at(each) for each in results.rivals if each in {one.configuration for one in results.outcomes}]
    for each in rivals:
        loss = each.views["best"].validation_loss
        trace = line([0, max(rates)], np.array([loss, loss]), TRAIN, each.configuration.label, dash="dash")
        name = {"text": ["", each.configuration.label], "textposition": "top left", "textfont": {"color": TRAIN}}
        traces.append(trace | name | {"mode": "lines+text"})
        losses.append(loss)
    return plot(traces, rate_axis(rates), loss_axis(f"validation {task.loss_name}", losses))


def gaps(results: Results, task: Task) -> Figure:
    """Returns the training and the validation loss by rate, after the last epoch."""
    rates = [each.rate for each in results.rates]
    last = [each.views["last"] for each in results.rates]
    stems_x = [x for rate in rates for x in (rate, rate, None)]
    stems_y = [y for summary in last for y in (summary.train_loss, summary.validation_loss, None)]
    dots = [
        {
            "x": rates,
            "y": values,
            "mode": "markers",
            "cliponaxis": False,
            "name": name,
            "marker": {"color": colour, "size": 9},
            "hovertemplate": f"{name} at p = %{{x}}: %{{y:.4g}}<extra></extra>",
        }
        for name, colour, values in (
            ("training", TRAIN, [summary.train_loss for summary in last]),
            ("validation", VALIDATION, [summary.validation_loss for summary in last]),
        )
    ]
    stems = {"x": stems_x, "y": stems_y, "mode": "lines", "line": {"color": "--rule", "width": 5}, "hoverinfo": "skip"}
    return plot([stems, *dots], rate_axis(rates), axis(f"{task.loss_name}, last epoch", rangemode="tozero"))


def difference(results: Results, name: str, factor: float, unit: str) -> Figure:
    """Returns the paired differences of `loss` or `error` on the test set, for the best and the last epoch."""
    rows = [("last epoch", results.test["last"][name]), ("best epoch", results.test["best"][name])]
    values = [factor * (contrast.chosen - contrast.without) for _, contrast in rows]
    trace: dict[str, Any] = {
        "x": values,
        "y": [view for view, _ in rows],
        "mode": "markers",
        "marker": {"color": VALIDATION, "size": 11},
        "hovertemplate": f"%{{y}}: %{{x:+.3g}}{unit}<extra></extra>",
    }
    intervals = [contrast.interval for _, contrast in rows if contrast.interval]
    if intervals:
        trace["error_x"] = error_bars(intervals, VALIDATION, factor)
    return plot([trace], ZERO | {"nticks": 6, "rangemode": "tozero"}, {"range": [-0.7, 1.7], "showgrid": False})


def _upper_bound(rates: list[Outcome], name: str) -> float:
    """Returns where to cut the curves off, so that the turn of the validation loss is visible and the first epochs are not."""
    lowest = min(float(each.curves[name][0].min()) for each in rates)
    ends = [float(each.curves[name][0][-1]) for each in rates]
    return max(1.15 * min(max(ends), 4 * lowest), 2 * lowest, 1e-9)


def _curves(result: Outcome, base: Outcome, name: str, factor: float, unit: str, top: float) -> Figure:
    """Returns the validation curve with its range over seeds, the training curve, and the validation curve at rate 0."""
    validation, train = (factor * result.curves[f"{part}_{name}"] for part in ("validation", "train"))
    epochs = list(range(1, validation.shape[1] + 1))
    best = int(validation[0].argmin())
    edge = {"x": epochs, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    traces = [
        edge | {"y": rounded(validation[1])},
        edge | {"y": rounded(validation[2]), "fill": "tonexty", "fillcolor": BAND},
        line(epochs, factor * base.curves[f"validation_{name}"][0], GHOST, "validation, p = 0", dash="dot"),
        line(epochs, train[0], TRAIN, "training"),
        line(epochs, validation[0], VALIDATION, "validation"),
        {
            "x": [best + 1],
            "y": [float(validation[0][best])],
            "mode": "markers",
            "cliponaxis": False,
            "name": "lowest",
            "marker": {"color": VALIDATION, "size": 8, "line": {"color": "--paper", "width": 2}},
            "hovertemplate": f"lowest: %{{y:.4g}}{unit} after epoch %{{x}}<extra></extra>",
        },
    ]
    if result.rate == base.rate:
        del traces[2]
    more: dict[str, Any] = {"hovermode": "x unified"}
    if validation[0].min() > top:
        text = f"above: {validation[0][-1]:.3g}{unit}"
        more["annotations"] = [label(text, (epochs[-1] + 1) / 2, top / 2, GHOST, "center")]
    x, y = {"range": [0, epochs[-1] + 1], "nticks": 5}, {"range": [0, top], "nticks": 5, "ticksuffix": unit}
    return plot(traces, x, y, **more)
