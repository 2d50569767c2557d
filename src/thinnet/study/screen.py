"""What a study shows in the terminal: progress on stderr, the table and the verdict on stdout."""

from collections.abc import Iterable, Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from thinnet.study import beside
from thinnet.study.cases import Data
from thinnet.study.findings import Findings
from thinnet.study.tasks import Task
from thinnet.study.trial import Trial
from thinnet.study.verdict import Verdict
from thinnet.study.words import counted, interval_text, quantity

ESTIMATE_OVER = 600.0


def shown_progress(trials: Iterable[Trial], finished: int, total: int, console: Console) -> Iterator[Trial]:
    """Passes trials on and shows how far the study is, with the time left.

    Args:
        trials: as they finish.
        finished: how many were finished before.
        total: how many there will be.
        console: writes to stderr.

    Yields:
        The trials.
    """
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("trials ·"),
        TimeElapsedColumn(),
        TextColumn("· left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[news]}"),
    )
    with Progress(*columns, console=console, speed_estimate_period=ESTIMATE_OVER) as progress:
        bar = progress.add_task("", total=total, completed=finished, news="")
        for trial in trials:
            loss = trial.at("best")["validation_loss"]
            progress.update(bar, advance=1, news=f"· p {trial.rate:g}, seed {trial.seed}: {loss:.3g}")
            yield trial


def summary(findings: Findings, data: Data) -> Table:
    """Lays out the arms.

    Args:
        findings: what the trials say.
        data: names the quantities.

    Returns:
        A table with a row for each rate.
    """
    task = data.task
    title = f"Hold-out, mean over {counted(findings.seeds, 'seed')}, each at its best epoch"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("p", task.loss_name, "less p = 0 [95 %]", task.error_name, "gap", "epoch", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for arm in findings.arms:
        best = arm.views["best"]
        table.add_row(
            f"{arm.rate:g}" + (" ←" if arm.rate == findings.chosen else "  "),
            f"{best.validation_loss:.4f}",
            interval_text(best.difference),
            quantity(best.validation_error, task),
            f"{best.gap:+.3f}",
            f"{arm.epochs_to_best:g}",
            f"{arm.seconds:.1f} s",
            style="bold" if arm.rate == findings.chosen else None,
        )
    return table


def answer(verdict: Verdict) -> Text:
    """Writes the verdict.

    Args:
        verdict: the answer.

    Returns:
        The headline in bold and the sentences under it.
    """
    text = Text(verdict.headline, style="bold")
    for sentence in (*verdict.sentences, verdict.overfitting):
        text.append(f"\n{sentence}", style="not bold")
    return text


def compared(findings: Findings, task: Task) -> Table:
    """Lays out the methods beside each other.

    Args:
        findings: what the trials say; at least one comparison.
        task: names the loss.

    Returns:
        A table with a row for each method and rate.
    """
    title = "On the test rows, each trial at its best epoch; times as ratios"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    first = findings.comparisons[0].against
    for name in ("method", "p", task.loss_name, first, f"less {first} [95 %]", "time", "to target"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in findings.comparisons:
        times = (f"{ratio.mean:.2f}x" for ratio in (each.seconds, each.seconds_to_target))
        losses = (f"{each.loss:.4f}", f"{each.loss_against:.4f}", interval_text(each.interval))
        table.add_row(each.method, f"{each.rate:g}", *losses, *times)
    return table


def beside_each_other(findings: Findings, task: Task) -> Text:
    """Writes what the comparison of the methods says.

    Args:
        findings: what the trials say.
        task: names the loss.

    Returns:
        A sentence a line.
    """
    return Text("\n".join([*beside.quality(findings, task), *beside.pace(findings)]))
