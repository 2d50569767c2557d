"""The panels of a calibration: reliability, error against coverage, validation NLL against the rate."""

from collections.abc import Mapping, Sequence
from typing import Any

from thinnet.inference.calibration.scorer import Row
from thinnet.report.figure import Panel

COLOURS = {"single pass": "--grey", "Monte-Carlo": "--blue", "Monte-Carlo, rates": "--orange"}
HEIGHT = 340


def panels(rows: Sequence[Row], kind: str, curve: Mapping[float, float]) -> list[Panel]:
    """Returns up to three panels; dotted lines are before the fit."""
    made = [_reliability(rows, kind)]
    made += [_selective(rows)] if rows[0].selective else []
    return made + ([_rate(curve, any("factor" in row.fitted for row in rows))] if len(curve) > 1 else [])


def _reliability(rows: Sequence[Row], kind: str) -> Panel:
    diagonal = {"x": [0, 1], "y": [0, 1], "mode": "lines", "line": {"color": "--grey", "width": 1}, "hoverinfo": "skip"}
    traces = [diagonal | {"type": "scatter", "showlegend": False}]
    traces += [_line(row, [point[:2] for point in row.reliability], "lines+markers") for row in rows]
    names = ("confidence (bins of equal size)", "accuracy") if kind == "logits" else ("level of the interval", "coverage")
    x, y = ({"title": name, "range": [0, 1.02]} for name in names)
    return Panel(traces, "Reliability", "A calibrated prediction is on the diagonal. Dotted: before the fit.", x, y, HEIGHT)


def _selective(rows: Sequence[Row]) -> Panel:
    traces = [_line(row, row.selective, "lines") for row in rows]
    x, y = {"title": "fraction of cases answered"}, {"title": "error among them"}
    return Panel(traces, "Selective prediction", "Error if only the most confident cases are answered.", x, y, HEIGHT)


def _rate(curve: Mapping[float, float], factor: bool) -> Panel:
    values = sorted(curve)
    line = {"type": "scatter", "mode": "lines+markers", "line": {"color": "--orange"}, "showlegend": False}
    trace = line | {"x": values, "y": [curve[value] for value in values]}
    x = {"title": "factor on the rates" if factor else "rate at every site"}
    return Panel([trace], "Rate", "The lowest validation NLL is chosen.", x, {"title": "validation NLL"}, HEIGHT)


def _line(row: Row, points: Sequence[Sequence[float]], mode: str) -> dict[str, Any]:
    base, _, last = row.name.rpartition(", ")
    fitted = last in ("temperature", "tau", "variance")
    line = {"color": COLOURS[base if fitted else row.name], "dash": "solid" if fitted else "dot", "width": 2}
    about = {"type": "scatter", "legendgroup": row.name, "line": line, "marker": {"size": 5}, "mode": mode, "name": row.name}
    return about | {"x": [point[0] for point in points], "y": [point[1] for point in points]}
