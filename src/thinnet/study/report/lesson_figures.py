"""The figures of a made regression."""

from typing import Any

import numpy as np

from thinnet.report.figure import Figure, axis
from thinnet.study.data.dataset import Dataset
from thinnet.study.findings.lesson import Lesson, Subnetwork, regression
from thinnet.study.report.traces import BAND, GHOST, TRAIN, VALIDATION, line, plot, rounded

SCALE = [[0.0, "--blue"], [0.5, "--paper"], [1.0, "--orange"]]
SPREAD = [[0.0, "--paper"], [1.0, "--violet"]]
ROWS = 16
"""The units of a layer are drawn in columns of this height."""


def figures(data: Dataset, lesson: Lesson) -> dict[str, Figure]:
    """Returns every figure by its name on the page."""
    draw = _Curves(data, lesson) if lesson.function.inputs == 1 else _Maps(data, lesson)
    drawn = {"lesson-truth": draw.truth(), "lesson-spread": draw.spread()}
    drawn |= {f"lesson-rate-{rate:g}": draw.fit(rate) for rate in lesson.fits}
    drawn |= {f"lesson-fit-{rate:g}": draw.fit(rate, samples=True) for rate in (0.0, lesson.rate)}
    drawn |= {f"lesson-ensemble-{name}": figure for name, figure in draw.ensemble().items()}
    return drawn | {f"lesson-network-{number}": _network(each) for number, each in enumerate(lesson.subnetworks)}


class _Curves:
    """One input: predictions are lines."""

    def __init__(self, data: Dataset, lesson: Lesson) -> None:
        self.lesson, self.x = lesson, rounded(lesson.axis)
        x, y = data.train.x[:, 0], data.train.y * regression(data).scale + regression(data).mean
        look = {"mode": "markers", "marker": {"color": TRAIN, "size": 7}, "name": "training sample"}
        self.samples = {"x": rounded(x), "y": rounded(y), "hovertemplate": "%{y:.3g}"} | look
        low, high = float(min(y.min(), lesson.truth.min())), float(max(y.max(), lesson.truth.max()))
        self.range = [low - 0.15 * (high - low), high + 0.15 * (high - low)]

    def truth(self) -> Figure:
        return self._plot([self._true(), self.samples])

    def fit(self, rate: float, samples: bool = True) -> Figure:
        fit = line(self.x, self.lesson.fits[rate], VALIDATION, f"p = {rate:g}")
        return self._plot([self._true(), *([self.samples] if samples else []), fit])

    def spread(self) -> Figure:
        mean, deviation = self.lesson.average, self.lesson.spread
        edge = {"x": self.x, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        upper, lower = rounded(mean + 2 * deviation), rounded(mean - 2 * deviation)
        band = [edge | {"y": lower}, edge | {"y": upper, "fill": "tonexty", "fillcolor": BAND}]
        return self._plot([*band, self._true(), self.samples, line(self.x, mean, VALIDATION, "mean of the sub-networks")])

    def ensemble(self) -> dict[str, Figure]:
        found = self.lesson.ensemble
        ghosts = [line(self.x, each, GHOST, "a sub-network") | {"opacity": 0.35, "hoverinfo": "skip"} for each in found.some]
        mean = line(self.x, found.mean, VALIDATION, f"mean of all 2^{found.units}")
        scaled = line(self.x, found.scaled, TRAIN, "one pass, all units on", dash="dot")
        thick = [each | {"line": each["line"] | {"width": 3}} for each in (mean, scaled)]
        return {"all": self._plot([*ghosts, *thick])}

    def _true(self) -> dict[str, Any]:
        return line(self.x, self.lesson.truth, "--ink", "true function", dash="dot")

    def _plot(self, traces: list[dict[str, Any]]) -> Figure:
        return plot(traces, axis("x", range=[-1.05, 1.05]), axis("y", range=self.range))


class _Maps:
    """Two inputs: predictions are maps of colours, all to one scale."""

    def __init__(self, data: Dataset, lesson: Lesson) -> None:
        self.lesson, self.x = lesson, rounded(lesson.axis)
        x, y = data.train.x, data.train.y * regression(data).scale + regression(data).mean
        middle = (lesson.truth.max() + lesson.truth.min()) / 2
        reach = float(max(abs(lesson.truth - middle).max(), np.quantile(abs(y - middle), 0.9)))
        self.scale = {"zmin": middle - reach, "zmax": middle + reach, "colorscale": SCALE}
        marker = {"color": rounded(y), "cmin": middle - reach, "cmax": middle + reach, "colorscale": SCALE, "size": 8}
        outline = {"line": {"color": "--ink", "width": 1}}
        place = {"x": rounded(x[:, 0]), "y": rounded(x[:, 1]), "mode": "markers", "marker": marker | outline}
        self.samples = place | {"hovertemplate": "a sample<extra></extra>"}

    def truth(self) -> Figure:
        return self._plot([self._map(self.lesson.truth) | {"showscale": True}, self.samples])

    def fit(self, rate: float, samples: bool = False) -> Figure:
        return self._plot([self._map(self.lesson.fits[rate]), *([self.samples] if samples else [])])

    def spread(self) -> Figure:
        alone = {"zmin": 0, "zmax": None, "colorscale": SPREAD, "showscale": True}
        return self._plot([self._map(self.lesson.spread) | alone, self.samples])

    def ensemble(self) -> dict[str, Figure]:
        found = self.lesson.ensemble
        maps = {"all": found.mean, "scaled": found.scaled, "one": found.some[0], "other": found.some[1]}
        return {name: self._plot([self._map(values)]) for name, values in maps.items()}

    def _map(self, values: np.ndarray) -> dict[str, Any]:
        square = values.reshape(len(self.x), -1).T  # rows of a heat map are the second input
        bar = {"thickness": 8, "outlinewidth": 0, "len": 1}
        cells = {
            "z": square.round(3).tolist(),
            "showscale": False,
            "hovertemplate": "%{x:.2f}, %{y:.2f}: %{z:.2f}<extra></extra>",
        }
        return {"type": "heatmap", "x": self.x, "y": self.x, "zsmooth": "best", "colorbar": bar} | self.scale | cells

    def _plot(self, traces: list[dict[str, Any]]) -> Figure:
        ticks = {"showgrid": False, "tickvals": [-1, 0, 1], "tickangle": 0}
        return plot(traces, axis("x₁", **ticks), axis("x₂", **ticks))


def _network(subnetwork: Subnetwork) -> Figure:
    """Draws the units of each hidden layer: a dot is kept, a cross is dropped."""
    kept, dropped = {"x": [], "y": []}, {"x": [], "y": []}
    ticks, left = [], 0.0
    for mask in subnetwork.kept:
        columns = -(-len(mask) // ROWS)
        for unit, stays in enumerate(mask):
            side = kept if stays else dropped
            side["x"].append(left + unit // ROWS)
            side["y"].append(-(unit % ROWS))
        ticks.append(left + (columns - 1) / 2)
        left += columns + 2
    dots = kept | {"mode": "markers", "marker": {"color": VALIDATION, "size": 7}, "hoverinfo": "skip"}
    cross = {"size": 5, "symbol": "x-thin", "line": {"color": TRAIN, "width": 1.5}}
    crosses = dropped | {"mode": "markers", "marker": cross, "hoverinfo": "skip"}
    names = [f"hidden layer {number}" for number in range(1, len(ticks) + 1)]
    bare = {"showgrid": False, "zeroline": False}
    x = bare | {"tickvals": ticks, "ticktext": names, "range": [-1, left - 2]}
    return plot([dots, crosses], x, bare | {"showticklabels": False, "range": [-ROWS, 1]})
