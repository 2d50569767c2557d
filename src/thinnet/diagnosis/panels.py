"""The panels of a diagnosis: each a title, what to look for, and Plotly traces."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thinnet.diagnosis.result import Diagnosis, Layer

COLOURS = ("#2a5db0", "#c2761b", "#1d7a52", "#a8452f", "#7a4fa3", "#4b8f9c", "#8d6b3d", "#5d6068")
ON, OFF, GHOST = "#c2761b", "#2a5db0", "#8d9099"
SHIFTS = 40  # of so many layers the shift is drawn: those furthest from 1
ROW = 24  # pixels of a row of dots


@dataclass(frozen=True)
class Panel:
    """One panel.

    Args:
        title: what is drawn.
        meaning: what to look for.
        traces: of Plotly.
        x, y: the axes.
        height: in pixels.
        lines: x values at which a vertical line stands.
    """

    title: str
    meaning: str
    traces: list[dict[str, Any]]
    x: dict[str, Any] = field(default_factory=dict)
    y: dict[str, Any] = field(default_factory=dict)
    height: int = 300
    lines: tuple[float, ...] = ()


def panels(found: "Diagnosis") -> list[Panel]:
    """Returns the panels of what was measured."""
    layers = found.layers
    made = [_ablation(layers), _histogram(layers), _energy(layers), _directions(layers), _synergy(layers)]
    return [panel for panel in (*made, _gap(found), _gradients(found), _shifts(found)) if panel.traces]


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


def _label(layer: "Layer") -> str:
    return f"layer {layer.name}" if layer.name.isdigit() else layer.name


def _bars(above: list[float], below: list[float] | None = None) -> dict[str, Any]:
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below or above, "thickness": 1.5, "width": 0}


def _rows(names: Sequence[str]) -> dict[str, Any]:
    return {"type": "category", "autorange": "reversed", "showgrid": False, "ticklabelstandoff": 6, "dtick": 1}


def _legend(count: int) -> int:
    return 330 + 20 * count  # pixels: a legend of so many lines stands above the plot


def _tall(count: int) -> int:
    return max(190, 110 + ROW * count)


def _energy(layers: Sequence["Layer"]) -> Panel:
    rows = [(_label(layer), c) for layer in layers if (c := layer.coadaptation) is not None]
    names = [name for name, _ in rows]
    null = _dots(names, [c.null for _, c in rows], GHOST, "independent units")
    null["marker"] = {"symbol": "line-ns-open", "size": 14, "color": GHOST, "line": {"width": 2}}
    traces = [null, _dots(names, [c.energy for _, c in rows], OFF, "measured")] if rows else []
    meaning = "Mean squared correlation of two units of a layer: more is more co-adaptation, 1 is one unit many times over."
    axis = {"rangemode": "tozero", "title": "off-diagonal energy"}
    return Panel("Co-adaptation", meaning, traces, axis, _rows(names), _tall(len(rows)))


def _directions(layers: Sequence["Layer"]) -> Panel:
    rows = [(_label(layer), c) for layer in layers if (c := layer.coadaptation) is not None]
    names, values = [name for name, _ in rows], [100 * c.participation_share for _, c in rows]
    traces = [_dots(names, values, OFF)] if rows else []
    meaning = "Participation ratio, as a share of the units: how many directions carry the variance of a layer."
    axis = {"rangemode": "tozero", "title": "directions, of units", "ticksuffix": " %"}
    return Panel("Directions in use", meaning, traces, axis, _rows(names), _tall(len(rows)))


def _ablation(layers: Sequence["Layer"]) -> Panel:
    traces, of = [], "accuracy"
    for number, layer in enumerate(layer for layer in layers if layer.ablation is not None):
        a, colour = layer.ablation, COLOURS[number % len(COLOURS)]
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
            bars = _bars(above, [middle - bottom for middle, bottom in zip(mean, low, strict=True)])
            line = {"color": colour, "width": 2, "dash": dash}
            curve = {"type": "scatter", "mode": "lines", "x": a.fractions, "y": mean, "name": name, "line": line}
            traces.append(curve | ({"error_y": bars} if dash == "solid" else {"showlegend": False}))
    y: dict[str, Any] = {"title": of} | ({"range": [0, 1.03]} if of == "accuracy" else {"rangemode": "tozero"})
    x = {"title": "fraction of the layer's units zeroed", "range": [-0.02, 1.02]}
    meaning = "A redundant layer stays up for long. Bars are the lowest and highest order; dotted, what is left is rescaled."
    return Panel("Ablation", meaning, traces, x, y, _legend(len(traces) // 2))


def _synergy(layers: Sequence["Layer"]) -> Panel:
    rows = [(_label(layer), s) for layer in layers if (s := layer.synergy) is not None]
    names = [name for name, _ in rows]
    error = _bars([2 * s.error for _, s in rows])
    traces = [_dots(names, [s.mean for _, s in rows], OFF, error_x=error)] if rows else []
    meaning = "Left of 0, two units are needed together; right of 0, one stands in for the other. Bars are two standard errors."
    axis = {"title": "mean pair synergy, in loss", "exponentformat": "power", "nticks": 6}
    return Panel("Pairs of units", meaning, traces, axis, _rows(names), _tall(len(rows)), (0.0,))


def _histogram(layers: Sequence["Layer"]) -> Panel:
    traces = []
    for number, layer in enumerate(layer for layer in layers if layer.sparsity is not None):
        s, colour = layer.sparsity, COLOURS[number % len(COLOURS)]
        assert s is not None
        middle = [(left + right) / 2 for left, right in zip(s.edges, s.edges[1:], strict=False)]
        line = {"color": colour, "width": 2, "shape": "hvh"}
        share = [100 * count or None for count in s.counts]
        name = f"{_label(layer)}: {s.zeros:.0%} zeros"
        traces.append({"type": "scatter", "mode": "lines", "x": middle, "y": share, "name": name, "line": line})
    y = {"title": "share of activations", "type": "log", "ticksuffix": " %", "dtick": 1}
    meaning = "What the eval network computes; a sparse layer has its mass at 0. The share is on a logarithmic axis."
    return Panel("Activations", meaning, traces, {"title": "activation"}, y, _legend(len(traces)))


def _gap(found: "Diagnosis") -> Panel:
    if found.gap is None:
        return Panel("", "", [])
    g = found.gap
    rows = [("training data, coins on", g.coins_on, ON), ("training data, eval mode", g.train, OFF)]
    rows += [("held-out data, eval mode", g.held_out, COLOURS[2])] if g.held_out is not None else []
    traces = [_dots([name], [score.loss], colour, error_x=_bars([2 * (score.error or 0.0)])) for name, score, colour in rows]
    meaning = "The gap is held-out minus training, both in eval mode. With the coins on it is that of thinned networks."
    names = [name for name, *_ in rows]
    return Panel("Gap", meaning, traces, {"title": "loss", "rangemode": "tozero"}, _rows(names), _tall(len(rows)))


def _gradients(found: "Diagnosis") -> Panel:
    if found.gradients is None:
        return Panel("", "", [])
    names = ["direction variance", "direction error"]
    sides = [("coins on", found.gradients.on, ON), ("coins off", found.gradients.off, OFF)]
    traces = [_dots(names, [side.variance, side.error], colour, name) for name, side, colour in sides]
    meaning = "0 is one direction, ½ are directions that know nothing of each other. The error is against all data, coins off."
    return Panel(
        "Minibatch gradients", meaning, traces, {"range": [0, 1], "title": "half of (1 - cos)"}, _rows(names), _tall(2)
    )


def _shifts(found: "Diagnosis") -> Panel:
    far = sorted(found.shifts, key=lambda shift: -abs(math.log(max(shift.ratio, 1e-12))))[:SHIFTS]
    rows = [shift for shift in found.shifts if shift in far]
    names = [f"{shift.name} {shift.reader}" for shift in rows]
    ratios = [shift.ratio for shift in rows]
    error = _bars([shift.high - shift.ratio for shift in rows], [shift.ratio - shift.low for shift in rows])
    traces = [_dots(names, ratios, OFF, error_x=error)] if rows else []
    meaning = "Variance of what a layer reads, training over eval: median unit, and lowest to highest. At 1 nothing shifts."
    axis = {"title": "ratio of variances", "type": "log", "tickvals": [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]}
    return Panel("Variance shift", meaning, traces, axis, _rows(names), _tall(len(rows)), (1.0,))
