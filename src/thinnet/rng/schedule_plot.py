"""A picture of rates over steps."""

from collections.abc import Mapping
from typing import Any

from thinnet.rng.schedules import Schedule


def plot(schedules: Any, *, steps: int, points: int = 500) -> Any:
    """Returns a Plotly figure of rates over steps.

    Args:
        schedules: bound coins, whose sites each have a line; or a schedule; or a mapping from names to schedules.
        steps: the last step of the picture.
        points: at how many steps at most the rates are looked up.

    Raises:
        ImportError: Plotly is not installed.
        ValueError: there is no schedule in it, or `steps` is not a positive integer.

    >>> from thinnet.schedules import Early, Late
    >>> _ = plot({"early": Early(0.5, cutoff=50), "late": Late(0.4, cutoff=50)}, steps=300)
    """
    try:
        from plotly import graph_objects
    except ImportError:
        raise ImportError("plot: plotly must be installed; it is not. Install thinnet[study].") from None
    lines: Any = getattr(schedules, "scheduled", schedules)
    lines = {type(lines).__name__: lines} if isinstance(lines, Schedule) else lines
    if not isinstance(lines, Mapping) or not lines:
        raise ValueError(f"plot: schedules must hold a schedule; got {schedules!r}. Bind the coins to a model first.")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"plot: steps must be an integer of at least 1; got {steps!r}.")
    at = sorted({round(steps * i / (points - 1)) for i in range(points)})
    traces = [graph_objects.Scatter(x=at, y=[line(step) for step in at], name=name) for name, line in lines.items()]
    return graph_objects.Figure(traces, {"xaxis": {"title": "step"}, "yaxis": {"title": "p", "rangemode": "tozero"}})
