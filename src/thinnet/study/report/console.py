"""What a study prints: progress on stderr, tables and the verdict on stdout."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.text import Text

from thinnet.report.formatting import counted, filled
from thinnet.report.progress import Progress, progressing
from thinnet.report.table import Table
from thinnet.study.data.columns import columns_table
from thinnet.study.data.dataset import Dataset
from thinnet.study.data.tasks import Task
from thinnet.study.design.configuration import BASELINE, TrialKey
from thinnet.study.evidence.formatting import interval_text, quantity
from thinnet.study.findings.comparison_text import loss_sentences, rival_cost_sentences, rival_sentences, time_sentences
from thinnet.study.findings.cost import cost_sentences
from thinnet.study.findings.evidence_text import FEWER, RATE_MEANING, failure_sentences, finalists_table
from thinnet.study.findings.results import Results
from thinnet.study.findings.verdict import ANSWERS, Verdict


class Training:
    """Shows how many trials are finished, which run, and the time left.

    Args:
        progress: counts trials.
        epochs: of a trial.
    """

    def __init__(self, progress: Progress, epochs: int) -> None:
        self.progress, self.epochs, self.finished = progress, epochs, progress.done

    def watch(self, running: Mapping[TrialKey, int]) -> None:
        """Shows the finished epochs of the trials that run."""
        done, news = self.finished + sum(running.values()) / self.epochs, ""  # a batch is counted at its end
        for key, epochs in list(running.items())[:1]:  # there is room for one
            news = f"· epoch {epochs} of {self.epochs} · {key.configuration.label}, seed {key.seed}"
        self.progress.reach(max(done, self.progress.done), news)

    def finish(self) -> None:
        """Counts a trial."""
        self.finished += 1


@contextmanager
def training(console: Console, finished: int, total: int, epochs: int) -> Iterator[Training]:
    """Shows the trials of the block: one line on a terminal, and now and then a line in a log."""
    shown, log = (False, None) if console.quiet else (None, lambda text: console.print(text, soft_wrap=True))
    with progressing("trials", total, finished, shown, log) as progress:
        yield Training(progress, epochs)


def print_data(console: Console, data: Dataset, built_in: bool) -> None:
    """Prints how the data were read, and what makes the result of little use."""
    if data.columns:
        console.print(columns_table(data.columns), "")
    for note in () if built_in else data.notes:
        console.print(note, soft_wrap=True)
    for warning in data.warnings:
        console.print(Text(f"Warning: {warning}", style="yellow"), soft_wrap=True)


def print_results(console: Console, results: Results, data: Dataset, verdict: Verdict) -> None:
    """Prints the tables and the verdict."""
    console.print(_rates(results, data.task), "")
    if results.subgroups:
        console.print(subgroups_table(results, data), "")
    console.print(Text(filled(verdict.headline, console.width), style="bold"))
    _say(console, *verdict.sentences, verdict.overfitting)
    if (finalists := finalists_table(results, data.task)) and len(results.finalists) > 1:
        console.print("", finalists)
    if results.cost and verdict.reason in ANSWERS:
        _say(console, "", *cost_sentences(results.cost, data.task.loss_name))
    for sentence in failure_sentences(results):
        console.print(Text(sentence, style="yellow"), soft_wrap=True)
    if results.rivals:
        _say(console, "", *rival_sentences(results, data.task), *rival_cost_sentences(results))
    if results.comparisons:
        console.print("", _methods(results, data.task), "")
        _say(console, *loss_sentences(results, data.task), *time_sentences(results))


def _say(console: Console, *sentences: str) -> None:
    for sentence in sentences:
        console.print(Text(filled(sentence, console.width)))


def results_tables(results: Results, data: Dataset) -> list[Table]:
    """Returns the table of the configurations; where there are some, those of subgroups and of compared methods."""
    subgroups = [subgroups_table(results, data)] if results.subgroups else []
    return [_rates(results, data.task), *subgroups, *([_methods(results, data.task)] if results.comparisons else [])]


def subgroups_table(results: Results, data: Dataset) -> Table:
    """Returns the test scores of each subgroup without dropout and, where it is another one, with the chosen configuration."""
    task, rows, alone = data.task, [], results.chosen == BASELINE
    for name, pair in results.subgroups.items():
        loss, error = pair["loss"], pair["error"]
        count = np.count_nonzero(data.subgroups == name)
        losses = (f"{loss.without:.4f}", f"{loss.chosen:.4f}", interval_text(loss.interval))
        errors = (quantity(error.without, task), quantity(error.chosen, task))
        rows.append((name, count, *(losses[:1] + errors[:1] if alone else losses + errors)))
    chosen = results.chosen.label
    losses = (f"{task.loss_name} at p = 0", f"at {chosen}", "less p = 0 [95 %]")
    errors = (f"{task.error_name} at p = 0", f"at {chosen}")
    losses, errors = (losses[:1], errors[:1]) if alone else (losses, errors)
    return Table(("subgroup", "rows", *losses, *errors), rows, "Test set by subgroup, each trial at its best epoch")


def _rates(results: Results, task: Task) -> Table:
    rows, marks = [], {}
    for number, each in enumerate(results.outcomes):
        best, chosen = each.views["best"], each.configuration == results.chosen
        if chosen or each.seeds < results.seeds:
            marks[number] = "strong" if chosen else "quiet"
        row = (
            each.configuration.label + (" ←" if chosen else ""),
            f"{best.validation_loss:.4f}",
            interval_text(best.difference),
            quantity(best.validation_error, task),
            f"{each.epochs_to_best:g}",
            f"{each.seconds:.1f} s",
        )
        rows.append((*row, str(each.seeds)) if results.halved else row)
    head = ("configuration", "loss", "less p = 0 [95 %]", task.error_name, "epoch", "time")
    over = "seeds" if results.halved else counted(results.seeds, "seed")
    title = f"Validation {task.loss_name}, mean over {over}, each at its best epoch"
    notes = [RATE_MEANING, *([task.loss_meaning] if task.loss_meaning else []), *([FEWER] if results.halved else [])]
    return Table((*head, "seeds") if results.halved else head, rows, title, notes=notes, marks=marks)


def _methods(results: Results, task: Task) -> Table:
    first = results.comparisons[0].against
    rows = []
    for each in results.comparisons:
        losses = (f"{each.loss:.4f}", f"{each.loss_against:.4f}", interval_text(each.interval))
        times = (f"{ratio.mean:.2f}x" for ratio in (each.seconds, each.seconds_to_target))
        rows.append((each.method, f"{each.rate:g}", *losses, *times))
    head = ("method", "p", task.loss_name, first, f"less {first} [95 %]", "time", "to target")
    return Table(head, rows, "Test set, each trial at its best epoch; times as ratios")
