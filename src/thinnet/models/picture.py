"""A drawn network: the tree of a model's modules, with what is random in it coloured by its rate."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from thinnet.models.found import FoundSite
from thinnet.models.table import where

QUIET = "#e8e8e4"


def draw(model: nn.Module, sites: Sequence[FoundSite]) -> Any:
    """Returns a Plotly figure: one box a module, from the model at the left to its leaves; sites are coloured by rate.

    Raises:
        ImportError: Plotly is not installed.
    """
    try:
        from plotly import graph_objects
    except ImportError:
        raise ImportError("draw: plotly must be installed; it is not. Install thinnet[study].") from None
    boxes = _boxes(model, sites)
    colours = dict(
        colors=[rate for *_, rate in boxes],
        colorscale=[[0, QUIET], [0.001, "#fde4d0"], [0.5, "#ee8a4a"], [1, "#a5341b"]],
        cmin=0,
        cmax=1,
        showscale=True,
        colorbar={"title": "p"},
    )
    names, labels, parents, hover, _ = zip(*boxes, strict=True)
    icicle = graph_objects.Icicle(ids=names, labels=labels, parents=parents, hovertext=hover, hoverinfo="text", marker=colours)
    height = max(400, 26 * sum(1 for name in names if name not in parents) + 80)
    return graph_objects.Figure([icicle], {"height": height, "margin": {"t": 30, "l": 10, "r": 10, "b": 10}})


def _boxes(model: nn.Module, sites: Sequence[FoundSite]) -> list[tuple[str, str, str, str, float]]:
    """Returns id, label, parent, text and rate of each box: one a module, and one a site within it."""
    boxes = []
    for name, module in model.named_modules():
        parent, _, last = name.rpartition(".")
        label = f"{last} {type(module).__name__}".strip()
        boxes.append((f"m:{name}", label, f"m:{parent}" if name else "", label, 0.0))
    known = {box[0] for box in boxes}
    for number, site in enumerate(sites):
        rate = site.measured if site.measured is not None else site.p or 0.0
        drawn = site.on_in_train or site.on_in_eval
        owner = f"m:{site.name}" if f"m:{site.name}" in known else "m:"
        text = f"{site.name or 'the model'}<br>{where(site)}<br>{site.kind}, shared axes: {site.sharing}"
        text += f"<br>on in eval: {site.on_in_eval}"
        flag = " ON IN EVAL" if site.on_in_eval else ""
        boxes.append((f"s:{number}", f"{site.kind} {rate:.2g}{flag}", owner, text, rate if drawn else 0.0))
    return boxes
