"""The parts that the figures of the report are made of, in Plotly's words."""

from typing import Any

import numpy as np

from thinnet.study.statistics import Interval


def line(x: list, y: np.ndarray, colour: str, name: str, dash: str = "solid") -> dict[str, Any]:
    """Describes a line."""
    return {
        "x": x,
        "y": numbers(y),
        "mode": "lines",
        "name": name,
        "line": {"color": colour, "width": 2, "dash": dash},
        "hovertemplate": "%{y:.4g}",
    }


def error_bars(intervals: list[Interval], colour: str, factor: float = 1.0) -> dict[str, Any]:
    """Describes intervals around the points of a trace."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [factor * (interval.high - interval.mean) for interval in intervals],
        "arrayminus": [factor * (interval.mean - interval.low) for interval in intervals],
        "color": colour,
        "thickness": 1.5,
        "width": 0,
    }


def axis(title: str) -> dict[str, Any]:
    """Describes an axis."""
    return {"title": {"text": title}} if title else {}


def rate_axis(rates: list[float]) -> dict[str, Any]:
    """Describes the axis of rates."""
    return axis("rate p") | {"range": [-0.04, max(rates) + 0.04], "nticks": 11}


def numbers(values: np.ndarray) -> list[float]:
    """Rounds values to what can be seen, which keeps the report small."""
    return [float(f"{value:.5g}") for value in values]


def words(text: str, x: float, y: float, colour: str, anchor: str) -> dict[str, Any]:
    """Describes a text beside a point."""
    return {"text": text, "x": x, "y": y, "xanchor": anchor, "showarrow": False, "font": {"color": colour, "size": 12}}
