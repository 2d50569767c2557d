"""A page about the dropout sites of a model: the tree of its modules, coloured by rate, and the table of its sites."""

from typing import Any

from torch import nn

from thinnet.models.found import DROPS, Sites
from thinnet.report.figure import Panel
from thinnet.report.page import document

SCALE = [[0, "--rule"], [0.3, "--orange"], [1, "--red"]]
BOX_HEIGHT = 26  # pixels of a leaf


def site_page(model: nn.Module, sites: Sites) -> str:
    """Returns a self-contained HTML page about the sites of a model.

    Raises:
        ImportError: Plotly or Jinja2 is not installed.
    """
    meaning = "One box for each module and each site, from the model on the left to its leaves. Sites are coloured by rate."
    boxes = _boxes(model, sites)
    leaves = len(boxes) - len({box["parents"] for box in boxes})
    panel = Panel([_icicle(boxes)], "Modules", meaning, height=max(400, BOX_HEIGHT * leaves + 80))
    return document("Dropout sites", user="sites", panels=[panel], tables=sites.tables(), wide=True)


def _icicle(boxes: list[dict[str, Any]]) -> dict[str, Any]:
    columns = {name: [box[name] for box in boxes] for name in ("ids", "labels", "parents", "hovertext")}
    colours = {"colors": [box["rate"] for box in boxes], "colorscale": SCALE, "cmin": 0, "cmax": 1}
    marker = colours | {"showscale": True, "colorbar": {"title": {"text": "p"}}}
    return columns | {"type": "icicle", "sort": False, "hoverinfo": "text", "marker": marker}


def _boxes(model: nn.Module, sites: Sites) -> list[dict[str, Any]]:
    boxes = []
    for name, module in model.named_modules():
        parent, _, last = name.rpartition(".")
        label = f"{last} {type(module).__name__}".strip()
        parents = f"m:{parent}" if name else ""
        boxes.append({"ids": f"m:{name}", "labels": label, "parents": parents, "hovertext": label, "rate": 0.0})
    modules = {box["ids"] for box in boxes}
    for number, (site, place) in enumerate(zip(sites, sites.places(), strict=True)):
        rate = (site.p or 0.0) if site.measured is None else site.measured
        flag = " ON IN EVAL" if site.on_in_eval and site.kind in DROPS else ""
        lines = [site.name or "the model", place, f"{site.kind}, shared axes: {site.sharing}"]
        box = {"ids": f"s:{number}", "labels": f"{site.kind} {rate:.2g}{flag}", "hovertext": "<br>".join(lines) + flag}
        owner = f"m:{site.name}" if f"m:{site.name}" in modules else "m:"
        boxes.append(box | {"parents": owner, "rate": rate if site.on_in_train or site.on_in_eval else 0.0})
    return boxes
