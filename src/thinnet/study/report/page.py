"""The report of a study: one HTML page."""

from dataclasses import replace
from typing import Any, NamedTuple

from thinnet.report.figure import Figure
from thinnet.report.page import render
from thinnet.report.table import Table
from thinnet.study.data.columns import columns_table
from thinnet.study.data.tasks import Classification, Task
from thinnet.study.design.configuration import BASELINE, METHODS
from thinnet.study.evidence.formatting import interval_text, quantity
from thinnet.study.findings.answer import Answer, versions
from thinnet.study.findings.averaging import averaging_text
from thinnet.study.findings.comparison import Comparison
from thinnet.study.findings.comparison_text import (
    by_line,
    comparison_table,
    loss_sentences,
    rival_cost_sentences,
    rival_sentences,
    time_sentences,
)
from thinnet.study.findings.cost import cost_sentences
from thinnet.study.findings.diagnostics import reasons_table
from thinnet.study.findings.evidence_text import FEWER, RATE_MEANING, failure_sentences, finalists_table
from thinnet.study.findings.outcomes import Outcome
from thinnet.study.findings.results import Results
from thinnet.study.findings.verdict import leading
from thinnet.study.report import comparison_figures, configuration_figures, figures, lesson_figures
from thinnet.study.report.console import subgroups_table
from thinnet.study.report.recommended_figures import reliability_figure, reliability_text


class Section(NamedTuple):
    """A part of the page: its anchor, which is the name of its template too, its name in the contents, and its heading."""

    name: str
    short: str
    title: str


def report(answer: Answer) -> str:
    """Returns the report as HTML that loads nothing."""
    data, results, found = answer.data, answer.results, answer.recommended
    drawn, (lead, evidence) = _figures(answer), leading(answer.verdict, answer.results)
    return render(
        "report.html",
        drawn | (lesson_figures.figures(data, answer.lesson) if answer.lesson else {}),
        package="thinnet.study.report",
        user="study",
        title=answer.verdict.headline,
        sections=_sections(answer, drawn),
        data=data,
        task=data.task,
        plan=answer.plan,
        results=results,
        verdict=answer.verdict,
        lead=lead,
        evidence=evidence,
        meaning=RATE_MEANING,
        warnings=(*data.warnings, *failure_sentences(results)),
        command=answer.command,
        lesson=answer.lesson,
        reasons=reasons_table(answer.lesson.reasons if answer.lesson else found.reasons),
        found=found,
        table=_table(results, data.task),
        finalists=finalists_table(results, data.task),
        cost=cost_sentences(results.cost, data.task.loss_name) if results.cost else [],
        rivals=[*rival_sentences(results, data.task), *rival_cost_sentences(results)],
        fewer=FEWER if results.halved else "",
        rows=results.rates,
        pair=sorted({0.0, results.compared.rate}),
        methods={name: METHODS[name] for name in answer.plan.methods},
        comparisons=[_compared(each, results, data.task) for each in by_line(results.comparisons)],
        heights={name: configuration_figures.map_height(figure) for name, figure in drawn.items() if name.startswith("map-")},
        columns=columns_table(data.columns) if data.columns else None,
        subgroups=subgroups_table(results, data) if results.subgroups else None,
        averages=averaging_text(results.averages, data.task, results.chosen.label) if results.averages else "",
        reliability=reliability_text(found.reliability, data.task),
        audit=found.audit.tables()[0],
        versions=versions(),
        classes=data.task.classes if isinstance(data.task, Classification) else (),
    )


def _sections(answer: Answer, drawn: dict[str, Figure]) -> list[Section]:
    """Returns the sections that this study has something to say in: pictures first, then code, then how it was measured."""
    data, results, found = answer.data, answer.results, answer.recommended
    evidence = leading(answer.verdict, results)[1] or results.chosen != BASELINE
    return [
        section
        for section, shown in (
            (Section("lesson", "How dropout works", "How dropout works, on this function"), answer.lesson),
            (Section("evidence", "Evidence", "The evidence, on the test set"), evidence),
            (Section("rates", "Rates", "Which rate"), True),
            (Section("lines", "Methods", "Methods, places and schedules"), len(results.lines) > 1),
            (Section("map", "Places", "Where, and at what rate"), any(name.startswith("map-") for name in drawn)),
            (Section("curves", "Learning curves", "Learning curves"), True),
            (Section("cost", "Cost", "Cost against gain"), "cost" in drawn),
            (Section("methods", "Test", "Compared at the same rate, on the test set"), results.comparisons),
            (Section("subgroups", "Subgroups", "Subgroups of the test set"), results.subgroups),
            (Section("averages", "Averages", "One deterministic pass, or the average of many sub-networks"), results.averages),
            (Section("calibration", "Calibration", "Does the confidence fit?"), found.reliability),
            (Section("diagnostics", "Diagnostics", "What dropout did to the network"), found.reasons and not answer.lesson),
            (Section("audit", "Audit", "Audit of the recommended network"), True),
            (Section("code", "Code", "The network to paste"), True),
            (Section("rerun", "Run it again", "Run it again"), True),
            (Section("columns", "Columns", "How the columns were read"), data.columns),
            (Section("method", "Method", "How it was measured"), True),
            (Section("limits", "Limits", "What this result does not say"), True),
        )
        if shown
    ]


def _figures(answer: Answer) -> dict[str, Figure]:
    """Returns every figure by its name on the page."""
    results, task = answer.results, answer.data.task
    curves = figures.learning_curves(results, task)
    drawn = {
        "difference-loss": figures.difference(results, "loss", 1.0, ""),
        "difference-error": figures.difference(results, "error", task.error_factor, task.difference_unit),
        "rates": figures.rate_curve(results, task),
        "gaps": figures.gaps(results, task),
        **{f"pair-{rate}": figures.labelled(figure) for rate, figure in curves["loss"].items()},
        **{f"curve-loss-{rate}": figure for rate, figure in curves["loss"].items()},
        **{f"curve-error-{rate}": figure for rate, figure in curves["error"].items()},
        **{f"map-{name}": figure for name, figure in configuration_figures.maps(results).items()},
    }
    if len(results.lines) > 1:
        drawn |= {f"line-{line.label}": figure for line, figure in configuration_figures.lines(results, task).items()}
    if len(results.outcomes) > 1:
        drawn["cost"] = configuration_figures.cost_and_gain(results, answer.trials)
    if answer.recommended.reliability:
        drawn["reliability"] = reliability_figure(answer.recommended.reliability, task)
    for found in by_line(results.comparisons):
        drawn[f"difference-{found[0].method}"] = comparison_figures.differences(found, task)
        drawn[f"times-{found[0].method}"] = comparison_figures.times(found)
    return drawn


def _compared(comparisons: list[Comparison], results: Results, task: Task) -> dict[str, Any]:
    """Returns the comparison of one line with the first."""
    own = replace(results, comparisons=comparisons)
    return {
        "method": comparisons[0].method,
        "against": comparisons[0].against,
        "losses": loss_sentences(own, task),
        "times": time_sentences(own),
        "table": comparison_table(comparisons, task),
    }


def _table(results: Results, task: Task) -> Table:
    """Returns one row for each configuration."""
    loss, error = task.loss_name, task.error_name
    head = ("configuration", loss, "paired difference from p = 0", error, f"{loss} at last epoch", "gap at last epoch")
    marks = {number: "strong" for number, each in enumerate(results.outcomes) if each.configuration == results.chosen}
    return Table((*head, "best epoch", "seconds", "seeds"), [_row(each, task) for each in results.outcomes], marks=marks)


def _row(outcome: Outcome, task: Task) -> tuple[str, ...]:
    best, last = outcome.views["best"], outcome.views["last"]
    return (
        outcome.configuration.label,
        f"{best.validation_loss:.4f}",
        interval_text(best.difference),
        quantity(best.validation_error, task),
        f"{last.validation_loss:.4f}",
        f"{last.gap:+.3f}",
        f"{outcome.epochs_to_best:g}",
        f"{outcome.seconds:.1f}",
        str(outcome.seeds),
    )
