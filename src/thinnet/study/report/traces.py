"""The parts that the figures of the study share, as Plotly specifications."""

from typing import Any

import numpy as np

from thinnet.report.figure import Figure, axis, bars
from thinnet.study.evidence.statistics import Interval

VALIDATION, TRAIN, GHOST, BAND = "--blue", "--orange", "--grey", "--blue-band"
LOG_TICKS = [float(f"{digit}e{power}") for power in range(-6, 6) for digit in (1, 2, 5)]
ZERO = {"zeroline": True, "zerolinecolor": "--ink", "zerolinewidth": 1.5}
FIXED = {"fixedrange": True}  # a finger that scrolls over a plot does not zoom it


def plot(traces: list[dict[str, Any]], x: dict[str, Any], y: dict[str, Any], **layout: Any) -> Figure:
    """Returns a figure; the page has its legend. Its margins hold the usual labels: Plotly warns where they move too often."""
    margin = {"l": 64 if "title" in y else 44, "r": 16, "t": 16, "b": 50 if "title" in x else 30}
    fixed = {"xaxis": FIXED | x, "yaxis": FIXED | y, "showlegend": False, "margin": margin}
    return {"data": traces, "layout": fixed | layout}


def line(x: list, y: np.ndarray, colour: str, name: str, dash: str = "solid") -> dict[str, Any]:
    """Returns a line."""
    look = {"mode": "lines", "line": {"color": colour, "width": 2, "dash": dash}}
    return {"x": x, "y": rounded(y), "name": name, "hovertemplate": "%{y:.4g}"} | look


def dotted(x: list, y: np.ndarray, colour: str, name: str, size: int = 7, dash: str = "solid") -> dict[str, Any]:
    """Returns a line with a dot at every point."""
    return line(x, y, colour, name, dash) | {"mode": "lines+markers", "marker": {"size": size, "color": colour}}


def error_bars(intervals: list[Interval], colour: str, factor: float = 1.0) -> dict[str, Any]:
    """Returns intervals around the points of a trace."""
    above = [factor * (interval.high - interval.mean) for interval in intervals]
    return bars(above, [factor * (interval.mean - interval.low) for interval in intervals], colour)


def rate_axis(rates: list[float]) -> dict[str, Any]:
    """Returns the axis of rates."""
    return axis("rate p", range=[-0.04, max(rates) + 0.04], nticks=11)


def loss_axis(title: str, losses: list[float]) -> dict[str, Any]:
    """Returns the axis of losses, logarithmic where they differ more than threefold."""
    log = max(losses) > 3 * min(losses) > 0
    return axis(title, **({"type": "log", "tickvals": LOG_TICKS} if log else {}))


def rounded(values: np.ndarray) -> list[float]:
    """Rounds values to what a reader can see, which keeps the report small."""
    return [float(f"{value:.5g}") for value in values]


def label(text: str, x: float, y: float, colour: str, anchor: str) -> dict[str, Any]:
    """Returns a text at a point."""
    return {"text": text, "x": x, "y": y, "xanchor": anchor, "showarrow": False, "font": {"color": colour, "size": 12}}
