"""The confidence of the networks, drawn."""

from collections.abc import Sequence

from thinnet.report.figure import Figure, axis
from thinnet.study.data.tasks import Classification, Task
from thinnet.study.design.configuration import BASELINE
from thinnet.study.design.plan import FEWEST_SEEDS
from thinnet.study.evidence.contrast import Contrast
from thinnet.study.evidence.formatting import difference
from thinnet.study.evidence.statistics import seed_interval
from thinnet.study.findings.reliability import Reliability
from thinnet.study.report.traces import GHOST, VALIDATION, dotted, plot


def reliability_figure(measured: Sequence[Reliability], task: Task) -> Figure:
    """Returns the accuracy by confidence of classes, or the coverage of intervals by their level; the diagonal is ideal."""
    traces = [{"x": [0, 1], "y": [0, 1], "mode": "lines", "line": {"color": "--ink", "width": 1}, "hoverinfo": "skip"}]
    for each in measured:
        colour, dash = (GHOST, "dot") if each.configuration == BASELINE and len(measured) > 1 else (VALIDATION, "solid")
        trace = dotted(each.stated.tolist(), each.observed, colour, each.configuration.label, dash=dash)
        traces.append(trace | {"hovertemplate": "%{x:.2f} stated, %{y:.2f} observed"})
    names = ("confidence", "accuracy") if isinstance(task, Classification) else ("level of the interval", "share covered")
    x, y = (axis(name, range=[-0.02, 1.02], nticks=6) for name in names)
    return plot(traces, x, y)


def reliability_text(measured: Sequence[Reliability], task: Task) -> str:
    """Says how far confidence and observation are apart, with the paired difference from the baseline where there is one."""
    if not measured:
        return ""
    if isinstance(task, Classification):
        name = "expected calibration error (ECE)"
    else:
        name = "mean distance of the share covered from the level"
    values = " and ".join(f"{each.errors.mean():.3f} at {each.configuration.label}" for each in measured)
    start = f"On the test set, the {name} is {values}"
    if len(measured) < 2:
        return f"{start}."
    differences = measured[1].errors - measured[0].errors
    interval = seed_interval(differences) if len(differences) >= FEWEST_SEEDS else None
    contrast = Contrast(float(measured[1].errors.mean()), float(measured[0].errors.mean()), interval)
    return f"{start}: {difference(contrast)}."
