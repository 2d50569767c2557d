"""The report of a study: one HTML page."""

from typing import Any, NamedTuple

from thinnet.report.figure import Figure
from thinnet.report.page import render
from thinnet.study import comparison_figures, figures, lesson_figures
from thinnet.study.averaging import averaging_text
from thinnet.study.columns import columns_table
from thinnet.study.comparison_text import by_line, comparison_table, loss_sentences, rival_sentences, time_sentences
from thinnet.study.configuration import BASELINE, METHODS
from thinnet.study.dataset import Dataset
from thinnet.study.formatting import interval_text, quantity
from thinnet.study.lesson import Lesson, reasons_table
from thinnet.study.plan import Plan
from thinnet.study.results import Results
from thinnet.study.tasks import Classification, Task
from thinnet.study.verdict import Verdict


class Section(NamedTuple):
    """A part of the page: its anchor, which is the name of its template too, its name in the contents, and its heading."""

    name: str
    short: str
    title: str


def report(data: Dataset, plan: Plan, results: Results, verdict: Verdict, seen: Lesson | None, command: str) -> str:
    """Return the report as HTML that loads nothing; `command` is what the user typed."""
    tables = {found[0].method: comparison_table(found, data.task) for found in by_line(results.comparisons)}
    averages = averaging_text(results.averages, data.task, results.chosen.label) if results.averages else ""
    return render(
        "report.html",
        _figures(results, data.task) | (lesson_figures.figures(data, seen) if seen else {}),
        package="thinnet.study",
        user="study",
        title=verdict.headline,
        data=data,
        task=data.task,
        plan=plan,
        results=results,
        verdict=verdict,
        command=command,
        lesson=seen,
        reasons=reasons_table(seen.reasons) if seen else None,
        rows=_rows(results, data.task),
        pair=sorted({0.0, results.compared.rate}),
        methods={name: METHODS[name] for name in plan.methods},
        comparison=[*loss_sentences(results, data.task), *time_sentences(results)],
        compared=tables,
        columns=columns_table(data.columns) if data.columns else None,
        averages=averages,
        rivals=rival_sentences(results, data.task),
        sections=_sections(data, results, seen),
        classes=data.task.classes if isinstance(data.task, Classification) else (),
    )


def _sections(data: Dataset, results: Results, seen: Lesson | None) -> list[Section]:
    """Return the sections that this study has something to say in: pictures first, then code, then how it was measured."""
    return [
        section
        for section, shown in (
            (Section("difference", "Difference", "The difference on the test set"), results.chosen != BASELINE),
            (Section("lesson", "How dropout works", "How dropout works, on this function"), seen),
            (Section("rates", "Rates", "Which rate"), True),
            (Section("curves", "Learning curves", "Learning curves"), True),
            (Section("methods", "Methods", "Methods compared at the same rate"), results.comparisons),
            (Section("averages", "Averages", "One deterministic pass, or the average of many sub-networks"), results.averages),
            (Section("code", "Code", "Use it"), True),
            (Section("columns", "Columns", "How the columns were read"), data.columns),
            (Section("method", "Method", "How it was measured"), True),
            (Section("limits", "Limits", "What this result does not say"), True),
        )
        if shown
    ]


def _figures(results: Results, task: Task) -> dict[str, Figure]:
    """Return every figure by its name on the page."""
    curves = figures.learning_curves(results, task)
    drawn = {
        "difference-loss": figures.difference(results, "loss", 1.0, ""),
        "difference-error": figures.difference(results, "error", task.error_factor, task.difference_unit),
        "rates": figures.rate_curve(results, task),
        "gaps": figures.gaps(results, task),
        **{f"pair-{rate}": figures.labelled(figure) for rate, figure in curves["loss"].items()},
        **{f"curve-loss-{rate}": figure for rate, figure in curves["loss"].items()},
        **{f"curve-error-{rate}": figure for rate, figure in curves["error"].items()},
    }
    if len(results.lines) > 1:
        drawn["methods"] = comparison_figures.curves(results, task)
    for found in by_line(results.comparisons):
        drawn[f"difference-{found[0].method}"] = comparison_figures.differences(found, task)
        drawn[f"times-{found[0].method}"] = comparison_figures.times(found)
    return drawn


def _rows(results: Results, task: Task) -> list[dict[str, Any]]:
    """Return the table of rates as text; `share` is the training time in percent of the slowest rate."""
    slowest = max(each.seconds for each in results.rates)
    return [
        {
            "rate": each.rate,
            "chosen": each.configuration == results.chosen,
            "loss": f"{each.views['best'].validation_loss:.4f}",
            "difference": interval_text(each.views["best"].difference),
            "error": quantity(each.views["best"].validation_error, task),
            "last": f"{each.views['last'].validation_loss:.4f}",
            "gap": f"{each.views['last'].gap:+.3f}",
            "epochs": f"{each.epochs_to_best:g}",
            "seconds": f"{each.seconds:.1f}",
            "share": round(100 * each.seconds / slowest),
        }
        for each in results.rates
    ]
