"""A rate: the probability of dropping, checked in one place and counted in 65536ths, as the coins are; and its schedules."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from thinnet.placing import DepthWise as DepthWise
from thinnet.schedules import Annealed as Annealed
from thinnet.schedules import Constant as Constant
from thinnet.schedules import Cosine as Cosine
from thinnet.schedules import Curriculum as Curriculum
from thinnet.schedules import Early as Early
from thinnet.schedules import Late as Late
from thinnet.schedules import Linear as Linear
from thinnet.schedules import Piecewise as Piecewise
from thinnet.schedules import Schedule as Schedule

RESOLUTION = 65536


def check(function: str, p: object, *, below_one: bool = False) -> float:
    """Returns `p` as a float, or says what is wrong with it.

    Args:
        function: the name that the error gives.
        p: the probability of dropping; a number, or a tensor with one.
        below_one: whether the method is undefined where everything is dropped.

    Raises:
        ValueError: `p` is a bool, not a number, NaN, or outside its domain at the resolution of the coins.
        TypeError: `p` requires grad.

    >>> check("dropout", 1.5)
    Traceback (most recent call last):
    ...
    ValueError: dropout: p must be a number in [0, 1]; got 1.5. It is the probability of dropping.
    """
    if type(p) is float and 0 <= p <= 0.99:  # nearly every call: nothing to say
        return p
    domain = "[0, 1)" if below_one else "[0, 1]"
    rule = f"{function}: p must be a number in {domain}; got {p!r}."
    if isinstance(p, Tensor) and p.requires_grad:
        raise TypeError(f"{function}: p must not require grad; a toss has no derivative in its rate. Pass p.detach().")
    if isinstance(p, (bool, str, bytes)) or (isinstance(p, Tensor) and (p.numel() != 1 or p.dtype == torch.bool)):
        raise ValueError(f"{rule} It is the probability of dropping.")
    try:
        value = float(p)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"{rule} It is the probability of dropping.") from None
    if not 0 <= value <= 1 or (below_one and count(value) == RESOLUTION):
        hint = " A percentage is divided by 100." if 1 < value <= 100 else ""
        raise ValueError(f"{rule} It is the probability of dropping.{hint if value >= 2 else ''}")
    return value


def count(p: float) -> int:
    """Returns the rate in 65536ths, to nearest, ties to even: a coin below it drops its unit.

    >>> count(0.3), count(1.0)
    (19661, 65536)
    """
    return round(p * RESOLUTION)


_constants: dict[tuple[int, torch.device], Tensor] = {}


def tensor(p: float, device: torch.device) -> Tensor:
    """Returns a rate as the 0-d int32 tensor that the kernels read; shared between callers, so never to be written to."""
    counted = count(p)
    if torch.compiler.is_compiling():
        return torch.full((), counted, dtype=torch.int32, device=device)
    key = counted, device
    if key in _constants:
        return _constants[key]
    with torch.inference_mode(False):  # an inference tensor could not be saved for backward later
        constant = torch.full((), counted, dtype=torch.int32, device=device)
    capturing = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    if type(constant) is Tensor and not capturing:  # neither a fake tensor nor memory of a CUDA graph may be kept
        _constants[key] = constant
    return constant


def plot(schedules: Any, *, steps: int, points: int = 500) -> Any:
    """Returns a Plotly figure of rates over steps.

    Args:
        schedules: bound coins, whose sites each have a line; or a schedule; or a mapping from names to schedules.
        steps: the last step of the picture.
        points: at how many steps at most the rates are looked up.

    Raises:
        ImportError: Plotly is not installed.
        ValueError: there is no schedule in it, or `steps` is not a positive integer.

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
