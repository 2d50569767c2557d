"""Plot rates against steps."""

from collections.abc import Mapping
from typing import Any

from thinnet.report.figure import Panel, draw
from thinnet.rng.schedules import Schedule


def plot(schedules: Any, *, steps: int, points: int = 500) -> Any:
    """Returns a Plotly figure of rates over steps.

    Args:
        schedules: a bound `DropoutRNG`, a schedule, or a mapping from names to schedules. Each gives a line.
        steps: the last step.
        points: the largest number of steps at which the rates are computed.

    Raises:
        ImportError: Plotly is not installed.
        ValueError: there is no schedule, or `steps` is not a positive integer.

    >>> from thinnet.schedules import Early, Late
    >>> _ = plot({"early": Early(0.5, cutoff=50), "late": Late(0.4, cutoff=50)}, steps=300)
    """
    lines: Any = getattr(schedules, "scheduled", schedules)
    lines = {type(lines).__name__: lines} if isinstance(lines, Schedule) else lines
    if not isinstance(lines, Mapping) or not lines:
        raise ValueError(f"plot: schedules must hold a schedule; got {schedules!r}. Bind the DropoutRNG to a model first.")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"plot: steps must be an integer of at least 1; got {steps!r}.")
    at = sorted({round(steps * i / (points - 1)) for i in range(points)})
    traces = [
        {"type": "scatter", "mode": "lines", "x": at, "y": [line(step) for step in at], "name": name}
        for name, line in lines.items()
    ]
    return draw(Panel(traces, x={"title": "step"}, y={"title": "p", "rangemode": "tozero"}).figure(), user="plot")
