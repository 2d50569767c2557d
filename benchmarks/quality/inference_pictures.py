"""Draws docs/inference_*.png from the result files: `python -m benchmarks.quality.inference_pictures`, with Chromium."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import sync_playwright
from plotly import graph_objects
from plotly.subplots import make_subplots

from benchmarks.tables import load
from docs.picture import QUIET

DOCS = Path(__file__).parent.parent.parent / "docs"
LAYOUT = {"template": "plotly_white", "font": {"size": 13, "color": "#222"}, "margin": {"t": 40, "r": 20, "l": 60, "b": 60}}
COLOURS = {"single": "#6b7280", "mc": "#2563a8", "other": "#c2571a"}
ERROR, NLL, COOLED = "error", "NLL", "NLL, temperature"


def bars(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Returns error bars of differences, from the mean to both ends."""
    found = [row[name] for row in rows]
    up, down = [high - value for value, _, high in found], [value - low for value, low, _ in found]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.2, "width": 3}


def averaging() -> graph_objects.Figure:
    """Draws error and NLL against the number of draws; bars show the paired difference to weight scaling."""
    base, *rows = load("inference_averaging")["rows"]
    figure = make_subplots(rows=1, cols=2, subplot_titles=("Test error", "Test NLL"), horizontal_spacing=0.1)
    sizes = [int(row["k"]) for row in rows]
    lines = ((ERROR, 1, "mc", ""), (NLL, 2, "mc", ""), (COOLED, 2, "other", ", with temperature"))
    for score, column, colour, more in lines:
        error = bars(rows, f"{score} - weight scaling")
        y, line = [row[score] for row in rows], {"color": COLOURS[colour]}
        level = {"x": [1, 100], "y": [base[score]] * 2, "mode": "lines", "line": line | {"dash": "dot"}}
        shown = {"showlegend": column == 2}
        figure.add_scatter(x=sizes, y=y, error_y=error, line=line, name=f"average of k{more}", row=1, col=column, **shown)
        figure.add_scatter(**level, name=f"weight scaling{more}", row=1, col=column, **shown)
    figure.update_xaxes(type="log", title="k sub-networks", tickvals=[1, 2, 5, 10, 20, 50, 100])
    figure.update_yaxes(rangemode="tozero")
    return figure.update_layout(**LAYOUT, width=980, height=420, legend={"orientation": "h", "y": -0.22})


def shift() -> graph_objects.Figure:
    """Draws, for each shift, the AUROC minus that of 1 - max p of the single pass."""
    rows = load("inference_shift")["rows"]
    names = [f"{row['shift']} {row['amount']:g}" for row in rows]
    figure = graph_objects.Figure()
    for place, (score, colour) in enumerate((("1 - max p", "single"), ("entropy", "other"), ("mutual information", "mc"))):
        flat = [{score: row["AUROC - 1 - max p, single pass"][score]} for row in rows]
        at = [number + 0.2 * (1 - place) for number in range(len(rows))]
        marker = {"color": COLOURS[colour], "size": 8}
        values = [row[score][0] for row in flat]
        figure.add_scatter(x=values, y=at, error_x=bars(flat, score), mode="markers", marker=marker, name=f"{score}, 50 draws")
    figure.add_vline(x=0, line_color="#222", line_width=1)
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=names, autorange="reversed")
    figure.update_xaxes(title="AUROC minus that of 1 - max p of the single pass")
    layout: dict[str, Any] = LAYOUT | {"margin": {"t": 10, "r": 20, "l": 110, "b": 60}}
    return figure.update_layout(**layout, width=820, height=560, legend={"orientation": "h", "y": -0.14})


def main() -> None:
    """Writes the figures."""
    with sync_playwright() as playwright, TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        for name, figure in (("averaging", averaging()), ("shift", shift())):
            path = Path(folder) / f"{name}.html"
            figure.write_html(path, include_plotlyjs=True, config={"staticPlot": True})
            size = figure.to_plotly_json()["layout"]
            page = browser.new_page(viewport={"width": size["width"] + 16, "height": size["height"] + 16})
            page.goto(path.as_uri())
            page.wait_for_selector(".main-svg")
            page.screenshot(path=DOCS / f"inference_{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
