"""One look for every Plotly figure: colours by name in light and dark, one template, panels and grids of panels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from thinnet.report.extras import need

Figure = dict[str, Any]
"""A Plotly specification, `data` and `layout`; a colour that starts with -- is a name of LIGHT and DARK."""

LIGHT = {
    "--paper": "#fcfbf8",
    "--ink": "#1c1d20",
    "--soft": "#5d6068",
    "--rule": "#e4e1d9",
    "--panel": "#f4f2ec",
    "--blue": "#2a5db0",
    "--blue-band": "rgba(42, 93, 176, 0.14)",
    "--orange": "#c2761b",
    "--green": "#1d7a52",
    "--red": "#a8452f",
    "--violet": "#7a4fa3",
    "--teal": "#3f7f8c",
    "--brown": "#8d6b3d",
    "--grey": "#8d9099",
}
DARK = {
    "--paper": "#15161a",
    "--ink": "#eceae4",
    "--soft": "#a3a5ad",
    "--rule": "#2c2e35",
    "--panel": "#1d1f24",
    "--blue": "#7fb0ff",
    "--blue-band": "rgba(127, 176, 255, 0.17)",
    "--orange": "#e6a55a",
    "--green": "#63c79a",
    "--red": "#ee9078",
    "--violet": "#bd97e6",
    "--teal": "#7fc4d1",
    "--brown": "#c9a877",
    "--grey": "#8a8d96",
}
SERIES = ("--blue", "--orange", "--green", "--red", "--violet", "--teal", "--brown", "--grey")
"""The colours of lines, in their order."""

FONT = "system-ui, sans-serif"
AXIS = {
    "automargin": True,
    "gridcolor": "--rule",
    "zeroline": False,
    "ticks": "",
    "ticklabelstandoff": 4,
    "title": {"standoff": 10},
}
TEMPLATE = {
    "layout": {
        "colorway": list(SERIES),
        "font": {"family": FONT, "size": 12, "color": "--soft"},
        "hoverlabel": {"bgcolor": "--paper", "bordercolor": "--rule", "font": {"color": "--ink"}},
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "--paper",
        "plot_bgcolor": "--paper",
        "xaxis": AXIS,
        "yaxis": AXIS,
    }
}
MOST_NAMED = 8  # lines in a horizontal legend
TITLE, GAP = 64, 56  # pixels above and below a panel of a grid
GUTTER = 0.8  # over the square of the number of columns: the space between two columns, as a share of the width


@dataclass(frozen=True)
class Panel:
    """One plot: Plotly traces, axes and what a reader should look for.

    Args:
        traces: Plotly traces.
        title: what is drawn.
        meaning: what to look for.
        x, y: the axes.
        height: pixels.
        lines: x values with a vertical line.
        layout: further Plotly layout, used where the panel is drawn alone.
    """

    traces: list[dict[str, Any]]
    title: str = ""
    meaning: str = ""
    x: dict[str, Any] = field(default_factory=dict)
    y: dict[str, Any] = field(default_factory=dict)
    height: int = 300
    lines: Sequence[float] = ()
    layout: dict[str, Any] = field(default_factory=dict)

    def figure(self) -> Figure:
        """Returns the panel alone as a Plotly specification."""
        legend = {"legend": {"orientation": "v"}} if len(self.traces) > MOST_NAMED else {}
        layout = {"xaxis": axis(**self.x), "yaxis": axis(**self.y), "shapes": _shapes(self.lines, "x", "y domain")}
        return {"data": self.traces, "layout": layout | legend | self.layout}


def axis(title: str | dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Returns an axis with its title in the form that Plotly's JavaScript reads."""
    return ({"title": {"text": title} if isinstance(title, str) else title} if title else {}) | more


def bars(above: Sequence[float], below: Sequence[float] | None = None, colour: str | None = None) -> dict[str, Any]:
    """Returns error bars: how far they reach above the points, and below them where that differs."""
    ends = {"array": list(above), "arrayminus": list(above if below is None else below)}
    bar = {"type": "data", "symmetric": False, "thickness": 1.5, "width": 0} | ends
    return bar if colour is None else bar | {"color": colour}


def grid(panels: Sequence[Panel], columns: int = 2) -> Figure:
    """Returns one specification with all panels, row by row, each with its title and its legend."""
    columns = min(columns, len(panels))
    gutter = GUTTER / columns**2
    width = (1 - gutter * (columns - 1)) / columns
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(panel.height for panel in row) for row in rows]
    total = sum(heights) + (TITLE + GAP) * len(rows)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"height": total, "annotations": [], "shapes": []}
    top = total
    for row, height in zip(rows, heights, strict=True):
        top -= TITLE
        for column, panel in enumerate(row):
            left = column * (width + gutter)
            _place(panel, data, layout, ((left, left + width), ((top - height) / total, top / total)))
        top -= height + GAP
    return {"data": data, "layout": layout}


def draw(figure: Figure, user: str, dark: bool = False) -> Any:
    """Returns a specification as a Plotly figure.

    Args:
        figure: the specification.
        user: the function that draws; an error starts with it.
        dark: whether to use the dark colours.

    Raises:
        ImportError: Plotly is not installed.
    """
    objects = need("plotly.graph_objects", user)
    space = {"margin": {"l": 16, "r": 24, "t": 48, "b": 16}}  # a figure alone has a legend above it
    layout = {"template": TEMPLATE} | space | figure["layout"]
    return objects.Figure(coloured({"data": figure["data"], "layout": layout}, DARK if dark else LIGHT))


def coloured(value: Any, palette: dict[str, str]) -> Any:
    """Replaces the names of colours by the colours of a palette.

    >>> coloured({"line": {"color": "--ink"}}, LIGHT)
    {'line': {'color': '#1c1d20'}}
    """
    if isinstance(value, str):
        return palette.get(value, value)
    if isinstance(value, dict):
        return {key: coloured(item, palette) for key, item in value.items()}
    return [coloured(item, palette) for item in value] if isinstance(value, list | tuple) else value


def _place(panel: Panel, data: list[dict[str, Any]], layout: dict[str, Any], box: tuple) -> None:
    number = 1 + sum(key.startswith("xaxis") for key in layout)
    suffix = "" if number == 1 else str(number)
    (left, right), (bottom, top) = box
    for trace in panel.traces:
        shown = trace.get("showlegend", True) and len(panel.traces) <= MOST_NAMED
        place = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "legend": f"legend{suffix}", "showlegend": shown}
        data.append(trace | place)
    layout[f"xaxis{suffix}"] = axis(**panel.x) | {"domain": [left, right], "anchor": f"y{suffix}"}
    layout[f"yaxis{suffix}"] = axis(**panel.y) | {"domain": [bottom, top], "anchor": f"x{suffix}"}
    layout[f"legend{suffix}"] = {"orientation": "h", "x": left, "xanchor": "left", "y": top, "yanchor": "bottom"}
    layout["shapes"] += _shapes(panel.lines, f"x{suffix}", f"y{suffix} domain")
    text = {"text": f"<b>{panel.title}</b>", "showarrow": False, "font": {"size": 14, "color": "--ink"}}
    place = {"xref": "paper", "yref": "paper", "x": left, "xanchor": "left", "y": top, "yanchor": "bottom", "yshift": 36}
    layout["annotations"].append(text | place)


def _shapes(lines: Sequence[float], x: str, y: str) -> list[dict[str, Any]]:
    look = {"type": "line", "xref": x, "yref": y, "y0": 0, "y1": 1, "line": {"color": "--soft", "width": 1}}
    return [look | {"x0": value, "x1": value} for value in lines]
