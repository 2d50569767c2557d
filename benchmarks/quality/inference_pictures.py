"""Draws docs/inference_*.png from the result files: `python -m benchmarks.quality.inference_pictures`, with Chromium."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.tables import load
from docs.picture import QUIET
from thinnet.report.figure import Figure, Panel, draw, grid
from thinnet.report.figure import bars as error_bars

DOCS = Path(__file__).parent.parent.parent / "docs"
ERROR, NLL, COOLED = "error", "NLL", "NLL, temperature"


def bars(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Returns error bars of differences, from the mean to both ends."""
    found = [row[name] for row in rows]
    return error_bars([high - value for value, _, high in found], [value - low for value, low, _ in found])


def averaging() -> Figure:
    """Draws error and NLL against the number of draws; bars show the paired difference to weight scaling."""
    base, *rows = load("inference_averaging")["rows"]
    sizes, panels = [int(row["k"]) for row in rows], []
    x = {"title": "k sub-networks", "type": "log", "tickvals": [1, 2, 5, 10, 20, 50, 100]}
    for title, scores in (("Test error", (ERROR,)), ("Test NLL", (NLL, COOLED))):
        traces: list[dict[str, Any]] = []
        for score in scores:
            line, more = {"color": "--orange" if score == COOLED else "--blue"}, ", with temperature" * (score == COOLED)
            values, error = [row[score] for row in rows], bars(rows, f"{score} - weight scaling")
            curve = {"type": "scatter", "x": sizes, "y": values, "error_y": error, "line": line, "name": f"average of k{more}"}
            level = {"type": "scatter", "x": [1, 100], "y": [base[score]] * 2, "mode": "lines", "line": line | {"dash": "dot"}}
            traces += [
                each | {"showlegend": title == "Test NLL"} for each in (curve, level | {"name": f"weight scaling{more}"})
            ]
        panels.append(Panel(traces, title, x=x, y={"rangemode": "tozero"}, height=320))
    figure = grid(panels)
    figure["layout"] |= {"width": 980, "legend2": {"orientation": "h", "x": 0, "y": -0.08, "yanchor": "top"}}
    return figure


def shift() -> Figure:
    """Draws, for each shift, the AUROC minus that of 1 - max p of the single pass."""
    rows = load("inference_shift")["rows"]
    names = [f"{row['shift']} {row['amount']:g}" for row in rows]
    traces = []
    for place, (score, colour) in enumerate((("1 - max p", "grey"), ("entropy", "orange"), ("mutual information", "blue"))):
        flat = [{score: row["AUROC - 1 - max p, single pass"][score]} for row in rows]
        at = [number + 0.2 * (1 - place) for number in range(len(rows))]
        dots = {
            "type": "scatter",
            "mode": "markers",
            "marker": {"color": f"--{colour}", "size": 8},
            "error_x": bars(flat, score),
        }
        traces.append(dots | {"x": [row[score][0] for row in flat], "y": at, "name": f"{score}, 50 draws"})
    x = {"title": "AUROC minus that of 1 - max p of the single pass"}
    y = {"tickvals": list(range(len(rows))), "ticktext": names, "autorange": "reversed"}
    return Panel(traces, x=x, y=y, lines=(0.0,), layout={"width": 820, "height": 560}).figure()


def save(figures: dict[str, Figure]) -> None:
    """Writes each figure to docs/ under its name."""
    with sync_playwright() as playwright, TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        for name, spec in figures.items():
            path = Path(folder) / f"{name}.html"
            draw(spec, name).write_html(path, include_plotlyjs=True, config={"staticPlot": True})
            size = spec["layout"]
            page = browser.new_page(viewport={"width": size["width"] + 16, "height": size["height"] + 16})
            page.goto(path.as_uri())
            page.wait_for_selector(".main-svg")
            page.screenshot(path=DOCS / f"{name}.png")
        browser.close()


def main() -> None:
    """Writes the figures."""
    save({"inference_averaging": averaging(), "inference_shift": shift()})


if __name__ == "__main__":
    main()
