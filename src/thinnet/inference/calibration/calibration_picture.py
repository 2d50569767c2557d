"""The picture of a calibration, and its page: reliability, risk against coverage, validation NLL against the rate."""

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thinnet.inference.calibration.calibrated import Calibration

COLOURS = {"single pass": "#6b7280", "Monte-Carlo": "#2563a8", "Monte-Carlo, rates": "#c2571a"}
STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto }
td, th { padding: .25rem .8rem; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd; white-space: nowrap }
td:first-child, th:first-child { text-align: left } td small { color: #666 } p { color: #444 }"""


def draw(found: "Calibration") -> Any:
    """Returns a Plotly figure of up to three panels; dotted lines are before the fit.

    Raises:
        ImportError: Plotly is not installed.
    """
    try:
        from plotly import graph_objects
        from plotly.subplots import make_subplots
    except ImportError:
        raise ImportError("picture: plotly must be installed; it is not. Run pip install 'thinnet[inference]'.") from None
    panels = ["reliability"] + ["selective"] * bool(found.rows[0].selective) + ["rate"] * (len(found.curve) > 1)
    figure = make_subplots(
        rows=1, cols=len(panels), horizontal_spacing=0.09, subplot_titles=[_title(panel) for panel in panels]
    )
    for column, panel in enumerate(panels, 1):
        for trace in _traces(found, panel, graph_objects):
            trace.showlegend = column == 1 and trace.name is not None
            figure.add_trace(trace, row=1, col=column)
        across, up = _axes(found, panel)
        ends: dict[str, Any] = {"range": [0, 1.02]} if panel == "reliability" else {"rangemode": "normal"}
        figure.update_xaxes(title_text=across, row=1, col=column, **ends)
        figure.update_yaxes(title_text=up, row=1, col=column, **ends)
    layout = {"template": "plotly_white", "height": 430, "legend": {"orientation": "h", "y": -0.22}, "font": {"size": 12}}
    figure.update_layout(layout | {"margin": {"t": 40, "r": 20, "l": 60, "b": 90}})
    return figure


def page(found: "Calibration", path: Path) -> Path:
    """Writes the table and the picture, with Plotly in it; returns the path."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *found.rows[0].scores, "fitted"))
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(row))}</tr>" for row in found.rows)
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in found.notes)
    plot = draw(found).to_html(full_html=False, include_plotlyjs=True, config={"displayModeBar": False, "responsive": True})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Calibration</title><style>{STYLE}</style>"
        f"<h1>Calibration</h1>{plot}<table><tr>{head}</tr>{body}</table>{notes}</html>\n",
        encoding="utf-8",
    )
    return path


def _cells(row: Any) -> list[str]:
    from thinnet.inference.calibration.calibrated import short

    numbers = [
        f"{short(score.value)}<br><small>{short(score.low)} .. {short(score.high)}</small>" for score in row.scores.values()
    ]
    return [html.escape(row.name), *numbers, "<br>".join(f"{name} {value:.3g}" for name, value in row.fitted.items())]


def _title(panel: str) -> str:
    return {"reliability": "Reliability", "selective": "Answering the surest only", "rate": "The rate, by validation"}[panel]


def _axes(found: "Calibration", panel: str) -> tuple[str, str]:
    if panel == "reliability":
        labels = "confidence (bins of equal size)", "accuracy"
        return labels if found.kind == "logits" else ("level of the interval", "observed coverage")
    if panel == "selective":
        return "share of cases answered", "error among them"
    return ("factor on the rates" if _factor(found) else "rate at every site"), "validation NLL"


def _factor(found: "Calibration") -> bool:
    return any("factor" in row.fitted for row in found.rows)


def _traces(found: "Calibration", panel: str, objects: Any) -> list[Any]:
    if panel == "rate":
        values = sorted(found.curve)
        line = {"color": COLOURS["Monte-Carlo, rates"]}
        return [objects.Scatter(x=values, y=[found.curve[value] for value in values], mode="lines+markers", line=line)]
    traces = []
    if panel == "reliability":
        diagonal = {"color": "#bbbbbb", "width": 1}
        traces.append(objects.Scatter(x=[0, 1], y=[0, 1], mode="lines", line=diagonal, hoverinfo="skip"))
    for row in found.rows:
        points = row.reliability if panel == "reliability" else row.selective
        base, _, last = row.name.rpartition(", ")
        after = last in ("temperature", "tau", "variance")
        line = {"color": COLOURS[base if after else row.name], "dash": "solid" if after else "dot", "width": 2}
        mode = "lines+markers" if panel == "reliability" else "lines"
        about = {"legendgroup": row.name, "line": line, "marker": {"size": 5}, "mode": mode, "name": row.name}
        traces.append(objects.Scatter(x=[point[0] for point in points], y=[point[1] for point in points], **about))
    return traces
