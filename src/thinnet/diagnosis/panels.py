"""The panels of a diagnosis."""

import math
from collections.abc import Sequence
from typing import Any

from thinnet.diagnosis.gradients import Gradients
from thinnet.diagnosis.measures import Layer
from thinnet.diagnosis.scores import Gap
from thinnet.diagnosis.variance import Shift
from thinnet.report.figure import SERIES, Panel, bars

ON, OFF, GHOST = "--orange", "--blue", "--grey"
SHIFTS = 40  # layers in the panel of shifts: those furthest from 1
ROW = 24  # pixels of a row of dots


def panels(layers: Sequence[Layer], gap: Gap | None, gradients: Gradients | None, shifts: Sequence[Shift]) -> list[Panel]:
    """Returns the panels of the measures that were taken."""
    made = [_ablation(layers), _histogram(layers), _energy(layers), _directions(layers), _synergy(layers)]
    made += [_gap(gap)] if gap is not None else []
    made += [_gradients(gradients)] if gradients is not None else []
    return [panel for panel in (*made, _shifts(shifts)) if panel.traces]


def _dots(names: list[str], values: list[float], colour: str, name: str = "", **more: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": values,
        "y": names,
        "name": name,
        "showlegend": bool(name),
        "marker": {"color": colour, "size": 10},
        "hovertemplate": "%{y}: %{x:.4g}<extra></extra>",
    } | more


def _label(layer: Layer) -> str:
    return f"layer {layer.name}" if layer.name.isdigit() else layer.name


def _rows(
    title: str, meaning: str, traces: list[dict[str, Any]], names: Sequence[str], x: dict[str, Any], *lines: float
) -> Panel:
    """A panel of dots, one row per name; without names it has no traces."""
    y = {"type": "category", "autorange": "reversed", "showgrid": False, "ticklabelstandoff": 6, "dtick": 1}
    return Panel(traces if names else [], title, meaning, x, y, max(190, 110 + ROW * len(names)), lines)


def _curves(title: str, meaning: str, traces: list[dict[str, Any]], count: int, x: dict[str, Any], y: dict[str, Any]) -> Panel:
    return Panel(traces, title, meaning, x, y, 330 + 20 * count)  # the legend has a line per layer


def _energy(layers: Sequence[Layer]) -> Panel:
    rows = [(_label(layer), c) for layer in layers if (c := layer.coadaptation) is not None]
    names = [name for name, _ in rows]
    null = _dots(names, [c.null for _, c in rows], GHOST, "independent units")
    null["marker"] = {"symbol": "line-ns-open", "size": 14, "color": GHOST, "line": {"width": 2}}
    traces = [null, _dots(names, [c.energy for _, c in rows], OFF, "measured")]
    meaning = "Mean squared correlation of two units: higher means more co-adaptation, and 1 means copies of one unit."
    return _rows("Co-adaptation", meaning, traces, names, {"rangemode": "tozero", "title": "off-diagonal energy"})


def _directions(layers: Sequence[Layer]) -> Panel:
    rows = [(_label(layer), c) for layer in layers if (c := layer.coadaptation) is not None]
    names, values = [name for name, _ in rows], [100 * c.participation_share for _, c in rows]
    meaning = "Participation ratio as a fraction of the units: how many directions carry the variance of a layer."
    axis = {"rangemode": "tozero", "title": "directions, of units", "ticksuffix": " %"}
    return _rows("Directions in use", meaning, [_dots(names, values, OFF)], names, axis)


def _ablation(layers: Sequence[Layer]) -> Panel:
    traces, of = [], "accuracy"
    for number, layer in enumerate(layer for layer in layers if layer.ablation is not None):
        a, colour = layer.ablation, SERIES[number % len(SERIES)]
        assert a is not None
        of = a.of
        kinds: list[tuple[list[list[float]], str, str]] = [
            (a.accuracy or a.loss, "solid", _label(layer)),
            (a.accuracy_rescaled or a.loss_rescaled, "dot", f"{_label(layer)}, rescaled"),
        ]
        for curves, dash, name in kinds:
            mean = [sum(column) / len(column) for column in zip(*curves, strict=True)]
            low, high = ([pick(column) for column in zip(*curves, strict=True)] for pick in (min, max))
            above = [top - middle for top, middle in zip(high, mean, strict=True)]
            reach = bars(above, [middle - bottom for middle, bottom in zip(mean, low, strict=True)])
            line = {"color": colour, "width": 2, "dash": dash}
            curve = {"type": "scatter", "mode": "lines", "x": a.fractions, "y": mean, "name": name, "line": line}
            traces.append(curve | ({"error_y": reach} if dash == "solid" else {"showlegend": False}))
    y: dict[str, Any] = {"title": of} | ({"range": [0, 1.03]} if of == "accuracy" else {"rangemode": "tozero"})
    x = {"title": "fraction of the layer's units zeroed", "range": [-0.02, 1.02]}
    meaning = "A redundant layer keeps its score for long. Bars: lowest and highest order. Dotted: the rest is rescaled."
    return _curves("Ablation", meaning, traces, len(traces) // 2, x, y)


def _synergy(layers: Sequence[Layer]) -> Panel:
    rows = [(_label(layer), s) for layer in layers if (s := layer.synergy) is not None]
    names = [name for name, _ in rows]
    trace = _dots(names, [s.mean for _, s in rows], OFF, error_x=bars([2 * s.error for _, s in rows]))
    meaning = "Left of 0, two units are needed together; right of 0, one can replace the other. Bars: two standard errors."
    axis = {"title": "mean pair synergy, in loss", "exponentformat": "power", "nticks": 6}
    return _rows("Pairs of units", meaning, [trace], names, axis, 0.0)


def _histogram(layers: Sequence[Layer]) -> Panel:
    traces = []
    for number, layer in enumerate(layer for layer in layers if layer.sparsity is not None):
        s, colour = layer.sparsity, SERIES[number % len(SERIES)]
        assert s is not None
        middle = [(left + right) / 2 for left, right in zip(s.edges, s.edges[1:], strict=False)]
        line = {"color": colour, "width": 2, "shape": "hvh"}
        share = [100 * count or None for count in s.counts]
        name = f"{_label(layer)}: {s.zeros:.0%} zeros"
        traces.append({"type": "scatter", "mode": "lines", "x": middle, "y": share, "name": name, "line": line})
    y = {"title": "fraction of activations", "type": "log", "ticksuffix": " %", "dtick": 1}
    meaning = "Activations in eval mode; a sparse layer has most of them at 0. The vertical axis is logarithmic."
    return _curves("Activations", meaning, traces, len(traces), {"title": "activation"}, y)


def _gap(g: Gap) -> Panel:
    rows = [("training data, dropout on", g.dropout_on, ON), ("training data, eval mode", g.train, OFF)]
    rows += [("held-out data, eval mode", g.held_out, "--green")] if g.held_out is not None else []
    traces = [_dots([name], [score.loss], colour, error_x=bars([2 * (score.error or 0.0)])) for name, score, colour in rows]
    meaning = "The gap is held-out minus training loss, both in eval mode. With dropout on, the loss is that of sub-networks."
    return _rows("Gap", meaning, traces, [name for name, *_ in rows], {"title": "loss", "rangemode": "tozero"})


def _gradients(found: Gradients) -> Panel:
    names = ["direction variance", "direction error"]
    sides = [("dropout on", found.on, ON), ("dropout off", found.off, OFF)]
    traces = [_dots(names, [side.variance, side.error], colour, name) for name, side, colour in sides]
    meaning = "0: equal directions. ½: unrelated directions. The error compares with all data, dropout off."
    return _rows("Minibatch gradients", meaning, traces, names, {"range": [0, 1], "title": "half of (1 - cos)"})


def _shifts(shifts: Sequence[Shift]) -> Panel:
    far = sorted(shifts, key=lambda shift: -abs(math.log(max(shift.ratio, 1e-12))))[:SHIFTS]
    rows = [shift for shift in shifts if shift in far]
    names, ratios = [f"{shift.name} {shift.reader}" for shift in rows], [shift.ratio for shift in rows]
    error = bars([shift.high - shift.ratio for shift in rows], [shift.ratio - shift.low for shift in rows])
    meaning = "Variance of the input of a layer, training over eval: median, lowest and highest unit. 1 means no shift."
    axis = {"title": "ratio of variances", "type": "log", "tickvals": [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]}
    return _rows("Variance shift", meaning, [_dots(names, ratios, OFF, error_x=error)], names, axis, 1.0)
