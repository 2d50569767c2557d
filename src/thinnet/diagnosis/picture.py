"""A diagnosis as one Plotly figure."""

from typing import TYPE_CHECKING, Any

from thinnet.diagnosis.panels import Panel, panels

if TYPE_CHECKING:
    from thinnet.diagnosis.result import Diagnosis

PAPER, INK, SOFT, RULE = "#fcfbf8", "#1c1d20", "#5d6068", "#e4e1d9"
FONT = {"family": "system-ui, sans-serif", "size": 13, "color": INK}
FEW = 8  # traces of a panel whose legend stands in lines
LEGEND = {"orientation": "h", "yanchor": "bottom", "xanchor": "left"}


def picture(found: "Diagnosis") -> Any:
    """Returns a figure with all panels, two in a row.

    Raises:
        ImportError: Plotly is not installed.
    """
    objects = plotly()
    from plotly.subplots import make_subplots

    drawn = panels(found)
    rows = -(-len(drawn) // 2)
    legends: dict[str, Any] = {}
    titles = [f"<b>{panel.title}</b><br> " for panel in drawn]
    heights = [max(330, *(panel.height for panel in drawn[2 * row : 2 * row + 2])) for row in range(rows)]
    gap = 105 / sum(heights)
    figure = make_subplots(rows, 2, subplot_titles=titles, row_heights=heights, vertical_spacing=gap, horizontal_spacing=0.2)
    for number, panel in enumerate(drawn):
        row, column = number // 2 + 1, number % 2 + 1
        legend = f"legend{number + 1}" if number else "legend"
        for trace in panel.traces:
            few = {"showlegend": trace.get("showlegend", True) and len(panel.traces) <= FEW}
            figure.add_trace(objects.Scatter(trace | {"legend": legend} | few), row, column)
        plot: Any = figure.get_subplot(row, column)
        (left, _), (_, top) = plot.xaxis.domain, plot.yaxis.domain
        legends[legend] = LEGEND | {"x": left, "y": top}
        figure.update_xaxes(panel.x, row=row, col=column)
        figure.update_yaxes(panel.y, row=row, col=column)
        for x in panel.lines:
            figure.add_vline(x, line={"color": SOFT, "width": 1}, row=row, col=column)  # type: ignore[arg-type]
    return figure.update_layout(_layout(height=sum(heights) + 60) | legends)


def one(panel: Panel) -> Any:
    """Returns a figure with one panel."""
    objects = plotly()
    figure = objects.Figure([objects.Scatter(trace) for trace in panel.traces], _layout(height=panel.height))
    figure.update_xaxes(panel.x).update_yaxes(panel.y)
    if len(panel.traces) > FEW:
        figure.update_layout(legend_orientation="v")  # a horizontal one takes half of the height at most, and scrolls
    for x in panel.lines:
        figure.add_vline(x, line={"color": SOFT, "width": 1})
    return figure


def plotly() -> Any:
    """Returns `plotly.graph_objects`, or says how to get it."""
    try:
        from plotly import graph_objects
    except ImportError:
        raise ImportError("diagnose: plotly must be installed; it is not. pip install 'thinnet[inference]'.") from None
    return graph_objects


def _layout(height: int) -> dict[str, Any]:
    axis = {"gridcolor": RULE, "zeroline": False, "automargin": True, "ticks": "", "title": {"standoff": 10}}
    return {
        "height": height,
        "font": FONT,
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "margin": {"t": 60, "l": 10, "r": 16, "b": 10},
        "legend": LEGEND | {"x": 0, "y": 1.02},
        "hovermode": "closest",
        "template": {"layout": {"xaxis": axis, "yaxis": axis}},
    }
