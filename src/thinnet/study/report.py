"""The report: one HTML file that holds everything it needs."""

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from thinnet.study import beside, beside_figures, figures, one_pass
from thinnet.study.cases import Data
from thinnet.study.comparison import Comparison
from thinnet.study.findings import Findings
from thinnet.study.plan import METHODS, Plan
from thinnet.study.tasks import Classification, Task
from thinnet.study.verdict import Verdict
from thinnet.study.words import counted, interval_text, quantity


def render(data: Data, plan: Plan, findings: Findings, verdict: Verdict, command: str) -> str:
    """Writes the report.

    Args:
        data: what was studied.
        plan: the settings.
        findings: what the trials say.
        verdict: the answer.
        command: what was typed.

    Returns:
        HTML that loads nothing from anywhere.
    """
    environment = Environment(
        loader=PackageLoader("thinnet.study"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bound"] = bound
    environment.filters["counted"] = counted
    return environment.get_template("report.html").render(
        data=data,
        task=data.task,
        plan=plan,
        findings=findings,
        verdict=verdict,
        command=command,
        rows=table_rows(findings, data.task),
        pair=sorted({0.0, beside.compared_rate(findings)}),
        methods={name: METHODS[name] for name in plan.methods},
        beside=[*beside.quality(findings, data.task), *beside.pace(findings)],
        compared={method: beside_rows(of_method(findings, method), data.task) for method in findings.others},
        averages=one_pass.told(findings.averages, data.task, findings.chosen) if findings.averages else "",
        classes=data.task.classes if isinstance(data.task, Classification) else (),
        figures=drawn(findings, data.task),
        plotly=Markup(get_plotlyjs()),
    )


def bound(text: str) -> str:
    """Keeps what belongs together on one line: p = 0.5 and 95 %."""
    return re.sub(r"(?<=\bp) = (?=\d)", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}", text).replace(" %", "\N{NO-BREAK SPACE}%")


def of_method(findings: Findings, method: str) -> list[Comparison]:
    """The comparisons of one method with the first, one a rate."""
    return [each for each in findings.comparisons if each.method == method]


def drawn(findings: Findings, task: Task) -> dict[str, Any]:
    """Every figure by the name that the page gives it."""
    curves = figures.learning_curves(findings, task)
    return {
        "difference-loss": figures.difference(findings, "loss", 1.0, ""),
        "difference-error": figures.difference(findings, "error", task.error_factor, task.difference_unit),
        "rates": figures.rate_curve(findings, task),
        "gaps": figures.gaps(findings, task),
        **{f"pair-{rate}": figures.labelled(figure) for rate, figure in curves["loss"].items()},
        **{f"curve-loss-{rate}": figure for rate, figure in curves["loss"].items()},
        **{f"curve-error-{rate}": figure for rate, figure in curves["error"].items()},
        **methods_drawn(findings, task),
    }


def methods_drawn(findings: Findings, task: Task) -> dict[str, Any]:
    """The figures that set methods beside each other, if there is more than one and a rate above 0."""
    if not findings.comparisons:
        return {}
    found = {"methods": beside_figures.curves(findings, task)}
    for method in findings.others:
        found[f"beside-{method}"] = beside_figures.differences(of_method(findings, method), task)
        found[f"times-{method}"] = beside_figures.times(of_method(findings, method))
    return found


def beside_rows(comparisons: list[Comparison], task: Task) -> list[dict[str, str]]:
    """The table of one method beside the first, as text."""
    return [
        {
            "rate": f"{each.rate:g}",
            "against": f"{each.loss_against:.4f}",
            "loss": f"{each.loss:.4f}",
            "difference": interval_text(each.interval),
            "error_against": quantity(each.error_against, task),
            "error": quantity(each.error, task),
            "seconds": beside.share(each.seconds),
            "target": beside.share(each.seconds_to_target),
        }
        for each in comparisons
    ]


def table_rows(findings: Findings, task: Task) -> list[dict[str, Any]]:
    """The table of arms, as text; `share` is the training time against the slowest arm, in percent."""
    slowest = max(arm.seconds for arm in findings.arms)
    return [
        {
            "rate": arm.rate,
            "chosen": arm.rate == findings.chosen,
            "loss": f"{arm.views['best'].validation_loss:.4f}",
            "difference": interval_text(arm.views["best"].difference),
            "error": quantity(arm.views["best"].validation_error, task),
            "last": f"{arm.views['last'].validation_loss:.4f}",
            "gap": f"{arm.views['last'].gap:+.3f}",
            "epochs": f"{arm.epochs_to_best:g}",
            "seconds": f"{arm.seconds:.1f}",
            "share": round(100 * arm.seconds / slowest),
        }
        for arm in findings.arms
    ]
