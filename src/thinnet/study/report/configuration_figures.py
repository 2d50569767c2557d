"""The figures of many configurations: place by rate, the loss of every line, and cost against gain."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thinnet.report.figure import SERIES, Figure, axis
from thinnet.report.formatting import decimals, signed
from thinnet.study.data.tasks import Task
from thinnet.study.design.configuration import BASELINE, Line, TrialKey
from thinnet.study.evidence.statistics import Interval
from thinnet.study.findings.cost import Ratio, ratio
from thinnet.study.findings.outcomes import Outcome
from thinnet.study.findings.results import Results
from thinnet.study.report.traces import GHOST, VALIDATION, dotted, error_bars, label, loss_axis, plot, rate_axis
from thinnet.study.training.trial import Trial

FEW_TICKS = [float(f"{digit}e{power}") for power in range(-6, 6) for digit in (1, 3)]
SCALE = [[0.0, "--blue"], [0.5, "--paper"], [1.0, "--orange"]]
CLIPPED = 4
"""Colours of a map end at this many times the largest gain, so that it is visible beside rates that break the training."""

NO_BAR = Interval(0.0, 0.0, 0.0)
MAP_ROW, MAP_EDGE = 46, 70
"""The height of a row of a map, and of what surrounds the rows, in pixels."""


def difference(outcome: Outcome, base: Outcome) -> float:
    """Returns the mean paired difference of the validation loss from the baseline, each trial at its best epoch."""
    interval = outcome.views["best"].difference
    return interval.mean if interval else outcome.views["best"].validation_loss - base.views["best"].validation_loss


def maps(results: Results) -> dict[str, Figure]:
    """Returns for each method and schedule with several places a map of the difference by place and rate."""
    groups: dict[str, dict[str, list[Outcome]]] = {}
    for one, outcomes in results.lines.items():
        groups.setdefault(Line(one.method, schedule=one.schedule).label, {})[one.place] = outcomes[1:]
    groups = {name: places for name, places in groups.items() if len(places) > 1}
    every = [difference(each, results.baseline) for places in groups.values() for row in places.values() for each in row]
    gain, loss = max(0.0, *(-value for value in every), 0.0), max(0.0, *every, 0.0)
    reach = (min(loss, CLIPPED * gain) if gain and loss > gain else max(gain, loss)) or 1.0
    return {name: _map(places, results, reach) for name, places in groups.items()}


def map_height(figure: Figure) -> int:
    """Returns the height that suits a map, in pixels."""
    return MAP_EDGE + MAP_ROW * len(figure["data"][0]["y"])


def lines(results: Results, task: Task) -> dict[Line, Figure]:
    """Returns a panel for each line: its validation loss by rate, the other lines behind it, all to one scale."""
    every = [each for outcomes in results.lines.values() for each in outcomes]
    losses, rates = [each.views["best"].validation_loss for each in every], [each.rate for each in every]
    losses += [end for each in every if (bar := each.views["best"].interval) for end in (bar.low, bar.high)]
    y = loss_axis("", losses)
    y |= {"tickvals": FEW_TICKS} if "type" in y else {"range": _around(losses), "nticks": 4}
    drawn = {}
    for own, outcomes in results.lines.items():
        ghosts = [_by_rate(each, GHOST, one.label, 1) | {"opacity": 0.45} for one, each in results.lines.items() if one != own]
        trace = _by_rate(outcomes, VALIDATION, own.label, 6)
        if intervals := [each.views["best"].interval for each in outcomes if each.views["best"].interval]:
            trace["error_y"] = error_bars(intervals, VALIDATION)
        drawn[own] = plot([*ghosts, trace], rate_axis(rates) | {"nticks": 5, "title": {"text": ""}}, y)
    return drawn


def cost_and_gain(results: Results, trials: Mapping[TrialKey, Trial]) -> Figure:
    """Returns the ratio of training times and the difference of the validation loss, both over the baseline, by configuration.

    Configurations with all seeds have intervals. Those of times may be longer than the axis, which ends at twice the times.
    """
    groups: dict[str, list[Outcome]] = {}
    for each in results.outcomes[1:]:
        groups.setdefault(each.configuration.method.replace("_", " "), []).append(each)
    traces = [
        _costs(name, outcomes, results, trials, SERIES[number % len(SERIES)])
        for number, (name, outcomes) in enumerate(groups.items())
    ]
    times, losses = ([value for trace in traces for value in _ends(trace, side)] for side in "xy")
    dots = [value for trace in traces for value in trace["x"]]
    times = [min(max(time, 0.5 * min(dots)), 2 * max(dots)) for time in times]
    marked = results.at(results.compared)
    time, width = time_ratio(marked, trials).mean, _around([1.0, *times])
    third = int(3 * (time - width[0]) / (width[1] - width[0]))
    anchor, shift = (("left", 8), ("center", 0), ("right", -8))[third]  # to the side that has room
    text = marked.configuration.label.replace(", ", ",<br>")  # a phone has no room for one line
    note = label(text, time, difference(marked, results.baseline), "--ink", anchor)
    level = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "line": {"color": "--ink", "width": 1}}
    one = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": 1, "x1": 1, "line": {"color": "--ink", "width": 1}}
    x = axis("training time, over that without dropout", range=width)
    y = axis("validation loss, less that without dropout", range=_around([0.0, *losses]))
    layout = {"shapes": [level, one], "annotations": [note | {"xshift": shift, "yshift": 6, "yanchor": "bottom"}]}
    return plot(traces, x, y, **layout, **({"showlegend": True} if len(traces) > 1 else {}))


def _ends(trace: dict[str, Any], side: str) -> list[float]:
    """Returns the ends of the bars of a trace."""
    dots, bar = np.array(trace[side]), trace[f"error_{side}"]
    return [*(dots - bar["arrayminus"]), *(dots + bar["array"])]


def _around(values: Sequence[float]) -> list[float]:
    space = 0.12 * (max(values) - min(values)) or 0.1
    return [min(values) - space, max(values) + space]


def time_ratio(outcome: Outcome, trials: Mapping[TrialKey, Trial]) -> Ratio:
    """Returns the geometric mean of the training time over that of the baseline, paired by seed."""
    keys = [(TrialKey(outcome.configuration, seed), TrialKey(BASELINE, seed)) for seed in range(outcome.seeds)]
    return ratio([trials[one].seconds / trials[other].seconds for one, other in keys])


def _costs(
    name: str, outcomes: Sequence[Outcome], results: Results, trials: Mapping[TrialKey, Trial], colour: str
) -> dict[str, Any]:
    times = [time_ratio(each, trials) for each in outcomes]
    final = [each.seeds == results.seeds for each in outcomes]
    ends = {
        "error_x": [time.interval if whole else None for time, whole in zip(times, final, strict=True)],
        "error_y": [each.views["best"].difference if whole else None for each, whole in zip(outcomes, final, strict=True)],
    }
    trace = {
        "x": [each.mean for each in times],
        "y": [difference(each, results.baseline) for each in outcomes],
        "mode": "markers",
        "name": name,
        "text": [each.configuration.label for each in outcomes],
        "marker": {"color": colour, "size": 9},
        "hovertemplate": "%{text}: %{x:.2f}x the time, %{y:+.3g}<extra></extra>",
    }
    for bar, intervals in ends.items():
        trace[bar] = error_bars([each or NO_BAR for each in intervals], colour) | {"thickness": 1}
    return trace


def _map(places: Mapping[str, list[Outcome]], results: Results, reach: float) -> Figure:
    rates = sorted({each.rate for row in places.values() for each in row})
    cells = {(place, each.rate): difference(each, results.baseline) for place, row in places.items() for each in row}
    values = [[cells.get((place, rate)) for rate in rates] for place in places]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": [f"{rate:g}" for rate in rates],
        "y": list(places),
        "z": values,
        "text": [["" if value is None else signed(value, decimals(reach)) for value in row] for row in values],
        "texttemplate": "%{text}",
        "textfont": {"color": "--ink"},
        "zmin": -reach,
        "zmax": reach,
        "colorscale": SCALE,
        "showscale": False,
        "opacity": 0.55,
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "%{y}, p = %{x}: %{text}<extra></extra>",
    }
    x, y = axis("rate p", type="category", showgrid=False), axis(type="category", autorange="reversed", showgrid=False)
    return plot([trace], x, y)


def _by_rate(outcomes: Sequence[Outcome], colour: str, name: str, size: int) -> dict[str, Any]:
    losses = np.array([each.views["best"].validation_loss for each in outcomes])
    return dotted([each.rate for each in outcomes], losses, colour, name, size)
