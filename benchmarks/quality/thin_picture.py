"""The trade-off of groups as a figure: test loss against training time, one point a number of groups."""

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from playwright.sync_api import sync_playwright

from benchmarks.measure import RESULTS

PICTURE = RESULTS / "thin_groups.png"
WIDTH, HEIGHT = 820, 470
THIN, DENSE = "#c2761b", "#2a5db0"


def figure(rows: list[dict[str, Any]], data: str = "digits", p: float = 0.5) -> go.Figure:
    """Returns a figure of the test loss minus that of per-sample dropout against time, with 95 % intervals of both."""
    wanted = [row for row in rows if row["data"] == data and row["p"] == p]
    points = sorted((row for row in wanted if row["groups"]), key=lambda row: row["groups"])
    none = next(row for row in wanted if row["way"] == "no dropout")
    fig = go.Figure()
    for name, found, colour in (("thinned, groups a batch", points, THIN), ("no dropout", [none], "#8d9099")):
        fig.add_scatter(
            x=[row["time"]["mean"] for row in found],
            y=[row["difference"]["mean"] for row in found],
            error_x=bars([row["time"] for row in found], colour),
            error_y=bars([row["difference"] for row in found], colour),
            mode="lines+markers",
            marker={"size": 10, "color": colour},
            line={"color": colour},
            name=name,
        )
    for row in (*points, none):
        place = {"x": row["time"]["mean"], "y": row["difference"]["high"]}
        fig.add_annotation(text=f"g = {row['groups']}" if row["groups"] else "no dropout", yshift=11, showarrow=False, **place)
    fig.add_scatter(x=[1], y=[0], mode="markers", marker={"size": 12, "color": DENSE})
    fig.add_annotation(text="per sample", x=1, y=0, ax=30, ay=95, font={"color": DENSE}, arrowcolor=DENSE)
    fig.add_hline(y=0, line={"color": DENSE, "width": 1, "dash": "dot"})
    low = min(row["time"]["low"] for row in (*points, none))
    high = max(1.0, *(row["time"]["high"] for row in (*points, none)))
    fig.update_layout(
        template="simple_white",
        title=f"{data}, p = {p:g}: effect and cost of groups with their own masks",
        xaxis={"title": "training time, per-sample dropout = 1", "range": [low - 0.06, high + 0.12]},
        yaxis={"title": "test NLL minus that of per-sample dropout"},
        showlegend=False,
        width=WIDTH,
        height=HEIGHT,
        font={"size": 14},
        margin={"l": 80, "r": 20, "t": 60, "b": 60},
    )
    return fig


def bars(intervals: list[dict[str, float]], colour: str) -> dict[str, Any]:
    """Returns error bars."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [part["high"] - part["mean"] for part in intervals],
        "arrayminus": [part["mean"] - part["low"] for part in intervals],
        "color": colour,
        "thickness": 1.2,
        "width": 3,
    }


def draw(rows: list[dict[str, Any]], path: Path = PICTURE) -> None:
    """Renders the figure in Chromium, offline, and writes it."""
    page_text = figure(rows).to_html(include_plotlyjs=True, config={"displayModeBar": False})
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH + 16, "height": HEIGHT + 16})
        page.set_content(page_text)
        page.wait_for_selector(".main-svg")
        page.locator(".plot-container").screenshot(path=path)
        browser.close()
