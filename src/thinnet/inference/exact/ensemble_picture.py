"""A picture of an ensemble: the outputs of all its sub-networks for one input, and where the averages of them are."""

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from thinnet.inference.exact.averages import Averages

BINS = 60
COLOURS = {"arithmetic mean": "#1f3b57", "geometric mean": "#2a9d8f", "weight scaling": "#e07a2f", "Monte-Carlo": "#8e44ad"}
DASHES = {"arithmetic mean": "solid", "geometric mean": "solid", "weight scaling": "dash", "Monte-Carlo": "dot"}


def draw(averages: "Averages", index: int = 0, unit: int | None = None) -> Any:
    """Returns a Plotly figure of the outputs of all sub-networks for one input, each bar as high as their probability.

    Args:
        averages: what `exact` returned.
        index: of the input.
        unit: of the output; that with the largest mean if left out.

    Raises:
        ImportError: Plotly is not installed.
        ValueError: the outputs were too many to be kept.
    """
    try:
        from plotly import graph_objects
    except ImportError:
        raise ImportError("picture: plotly must be installed; it is not. pip install 'thinnet[inference]'.") from None
    if averages.outputs is None:
        raise ValueError("picture: outputs must have been kept; there were too many. Give exact() fewer inputs.")
    logits = averages.geometric is not None
    mean = averages.mean[index].flatten()
    unit = int(mean.argmax()) if unit is None else unit
    y = averages.outputs[:, index].double()
    y = (y.softmax(-1) if logits else y).flatten(1)[:, unit].cpu()
    low, high = (0.0, 1.0) if logits else (float(y.min()), float(y.max()))
    share, edges = torch.histogram(y, BINS, range=(low, high), weight=averages.probabilities.cpu())
    middle = (edges[1:] + edges[:-1]) / 2
    figure = graph_objects.Figure()
    bars: dict[str, Any] = dict(marker={"color": "#cfd8dc"}, name=f"{len(y)} sub-networks", width=(high - low) / BINS)
    figure.add_bar(x=middle.tolist(), y=share.tolist(), hovertemplate="%{x:.3f}: %{y:.3f}<extra></extra>", **bars)
    top = float(share.max()) * 1.08
    for name, average in averages.named().items():
        value = float(average[index].flatten()[unit])
        line = {"color": COLOURS[name], "width": 3, "dash": DASHES[name]}
        label = f"{name} {value:.3f}"
        figure.add_scatter(x=[value] * 2, y=[0, top], mode="lines", line=line, name=label, hoverinfo="name")
    what = f"probability of class {unit}" if logits else f"output {unit}"
    figure.update_layout(
        title=f"Input {index}: {what}, from all {len(y)} sub-networks",
        xaxis={"title": what, "range": [low, high] if logits else None},
        yaxis={"title": "share of the ensemble", "range": [0, top]},
        template="simple_white",
        bargap=0,
        legend={"orientation": "h", "y": -0.2},
    )
    return figure
