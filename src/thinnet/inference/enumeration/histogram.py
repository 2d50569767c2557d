"""A histogram of an ensemble: the outputs of all sub-networks for one input, with the averages marked."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from thinnet.report.figure import Panel

BINS = 60
LINES = {
    "arithmetic mean": ("--blue", "solid"),
    "geometric mean": ("--green", "solid"),
    "weight scaling": ("--orange", "dash"),
    "Monte-Carlo": ("--violet", "dot"),
}


def histogram(y: Tensor, weights: Tensor, marks: Mapping[str, float], what: str, title: str, bounded: bool) -> Panel:
    """Returns a panel of the outputs `(networks,)`; a bar is as high as the probability of its sub-networks.

    `marks` are the averages by name, and a `bounded` output is a probability, with the axis 0 .. 1.
    """
    low, high = (0.0, 1.0) if bounded else (float(y.min()), float(y.max()))
    share, edges = torch.histogram(y, BINS, range=(low, high), weight=weights)
    middle = (edges[1:] + edges[:-1]) / 2
    look: dict[str, Any] = {
        "type": "bar",
        "marker": {"color": "--grey", "opacity": 0.5},
        "hovertemplate": "%{x:.3f}: %{y:.3f}<extra></extra>",
    }
    bars = look | {"x": middle.tolist(), "y": share.tolist(), "name": f"{len(y)} sub-networks", "width": (high - low) / BINS}
    top, traces = float(share.max()) * 1.08, [bars]
    for name, value in marks.items():
        colour, dash = LINES[name]
        line = {"type": "scatter", "mode": "lines", "line": {"color": colour, "width": 3, "dash": dash}, "hoverinfo": "name"}
        traces.append(line | {"x": [value] * 2, "y": [0, top], "name": f"{name} {value:.3f}"})
    x = {"title": what} | ({"range": [low, high]} if bounded else {})
    heading = {"title": {"text": title, "x": 0.02}, "margin": {"t": 110}, "bargap": 0}
    return Panel(traces, title, x=x, y={"title": "share of the ensemble", "range": [0, top]}, layout=heading)
