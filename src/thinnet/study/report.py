"""The report: one HTML file that holds everything it needs."""

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from thinnet.study import figures
from thinnet.study.cases import Data
from thinnet.study.findings import Findings
from thinnet.study.plan import Plan
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
        pair=sorted({0.0, best_with_dropout(findings)}),
        classes=data.task.classes if isinstance(data.task, Classification) else (),
        figures=drawn(findings, data.task),
        plotly=Markup(get_plotlyjs()),
    )


def bound(text: str) -> str:
    """Keeps what belongs together on one line: p = 0.5 and 95 %."""
    return re.sub(r"(?<=\bp) = (?=\d)", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}", text).replace(" %", "\N{NO-BREAK SPACE}%")


def best_with_dropout(findings: Findings) -> float:
    """The rate whose curves are set beside those of rate 0: the best that is not 0, if there is one."""
    rest = [arm for arm in findings.arms if arm.rate > 0] or findings.arms
    return min(rest, key=lambda arm: arm.views["best"].validation_loss).rate


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
    }


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
