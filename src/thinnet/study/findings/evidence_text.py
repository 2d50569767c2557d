"""The evidence in words: the difference on the test set, the p-value, three probabilities, and the power."""

from thinnet.report.formatting import counted, decimals
from thinnet.report.table import Table
from thinnet.study.data.dataset import Dataset
from thinnet.study.data.tasks import Task
from thinnet.study.design.configuration import Configuration
from thinnet.study.evidence.contrast import Contrast
from thinnet.study.evidence.equivalence import SAME
from thinnet.study.evidence.formatting import change, difference, interval_text, quantity
from thinnet.study.findings.results import Results
from thinnet.study.training.trial import Trial

P_VALUE = "It is the probability of a difference at least this large if dropout changed nothing."

RATE_MEANING = "p is the probability that a training step drops a unit; p = 0 is training without dropout."

FEWER = (
    "A configuration with fewer seeds was dropped early, and its mean is over these seeds alone. "
    "Compare its difference from p = 0, which is paired, and not its loss."
)

RETRY = "Once the cause is mended, the same command with --retry-failed trains them again"


def finalist_sentences(finalist: Configuration, results: Results, data: Dataset) -> list[str]:
    """Returns the sentences on one finalist beside the baseline."""
    task, found = data.task, results.finalists[finalist]
    loss, error = found["loss"], found["error"]
    changes = f"changes the {task.loss_name} {change(loss)}"
    sentences = [f"On {size(results, data)}, {finalist.label} {changes}: {difference(loss)}."]
    if task.error_name != task.loss_name:
        errors = f"from {quantity(error.without, task)} to {quantity(error.chosen, task)}"
        errors = f"{errors}: {difference(error, task.error_factor, task.difference_unit)}{_standing(error, loss)}"
        sentences.append(f"The {task.error_name} changes {errors}.")
    if loss.evidence is None:
        return sentences
    return [*sentences, _p_value(loss, results, task), _probabilities(finalist, loss), power_note(found, results, data)]


def size(results: Results, data: Dataset) -> str:
    """Returns on what the evidence rests."""
    return f"{len(data.test)} test rows and {counted(results.seeds, 'seed')}"


def power_note(found: dict[str, Contrast], results: Results, data: Dataset) -> str:
    """Returns the difference that the study could have seen, such as "a true difference of 0.011 in NLL (0.4 points)"."""
    task, loss, error = data.task, found["loss"].detectable, found["error"].detectable
    assert loss is not None and error is not None
    sizes = f"{_short(loss)} in {task.loss_name}"
    if task.error_name != task.loss_name:
        sizes += f", or {_short(task.error_factor * error)}{task.difference_unit} of {task.error_name}"
    return f"In four of five cases, {size(results, data)} show a true difference of {sizes}."


def finalists_table(results: Results, task: Task) -> Table | None:
    """Returns the finalists beside the baseline on the test set; None without finalists or with too few seeds."""
    head = ("configuration", f"{task.loss_name} less p = 0 [95 %]", "p-value", "better", "same", "worse")
    rows = []
    for each, found in results.finalists.items():
        loss = found["loss"]
        if loss.evidence is None or loss.probabilities is None:
            return None
        shares = (loss.probabilities.better, loss.probabilities.same, loss.probabilities.worse)
        rows.append((each.label, interval_text(loss.interval), p_text(loss.evidence.p_value), *map(percent, shares)))
    meaning = f"intervals are corrected; same is within {100 * SAME:g} %, better and worse are beyond"
    return Table(head, rows, "Finalists on the test set", meaning) if rows else None


def failure_sentences(results: Results) -> list[str]:
    """Says for each configuration with trials that failed at how many seeds, why the first one did, and what to do."""
    found: dict[Configuration, list[Trial]] = {}
    for trial in sorted(results.failures, key=lambda trial: trial.seed):
        found.setdefault(trial.configuration, []).append(trial)
    told = []
    for each, trials in found.items():
        failed = f"{each.label} failed at {counted(len(trials), 'seed')}"
        again = "" if trials[0].next_step else f" {RETRY}."
        told.append(f"{failed}. At seed {trials[0].seed}: {trials[0].failed.rstrip('.')}.{again}")
    return told


def p_text(value: float) -> str:
    """Writes a p-value.

    Example:
        >>> p_text(1 / 256), p_text(0.25), p_text(1e-6)
        ('0.004', '0.25', 'below 0.001')
    """
    return "below 0.001" if value < 0.001 else f"{value:.{3 if value < 0.1 else 2}f}"


def percent(share: float) -> str:
    """Writes a probability; neither 0 % nor 100 % is ever certain.

    Example:
        >>> percent(0.934), percent(0.9999), percent(0.0001)
        ('93 %', 'above 99 %', 'below 1 %')
    """
    return "below 1 %" if share < 0.01 else "above 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _p_value(loss: Contrast, results: Results, task: Task) -> str:
    assert loss.evidence is not None
    lower, number = loss.chosen < loss.without, len(results.finalists)
    value = p_text(loss.evidence.p_value)
    corrected = f", corrected for {number} finalists (Holm)," if number > 1 else ""
    return f"The p-value for a {'lower' if lower else 'higher'} {task.loss_name}{corrected} is {value}. {P_VALUE}"


def _probabilities(finalist: Configuration, loss: Contrast) -> str:
    found = loss.probabilities
    assert found is not None
    parts = f"better by more than {100 * SAME:g} % ({percent(found.better)}), the same within {100 * SAME:g} %"
    return f"On new data, {finalist.label} is {parts} ({percent(found.same)}), or worse ({percent(found.worse)})."


def _standing(error: Contrast, loss: Contrast) -> str:
    one, other = error.evidence, loss.evidence
    if one is None or other is None:
        return ""
    if not one.better and not one.worse:
        return "; not enough evidence for either"
    word = "better" if one.better else "worse"
    if (one.better, one.worse) == (other.better, other.worse):
        return f", also {word}"
    return f", which is {word}{': weigh the two' if other.better or other.worse else ''}"


def _short(value: float) -> str:
    return f"{value:.{decimals(value)}f}" if abs(value) < 1e6 else f"{value:.2g}"
