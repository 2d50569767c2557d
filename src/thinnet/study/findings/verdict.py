"""The answer: does dropout help, at which rate, and how certain is that?"""

from dataclasses import dataclass

from thinnet.report.formatting import counted
from thinnet.study.data.dataset import Dataset
from thinnet.study.data.tasks import Task
from thinnet.study.design.configuration import BASELINE
from thinnet.study.design.plan import FEWEST_SEEDS
from thinnet.study.evidence.agreement import FEWEST_PAIRS
from thinnet.study.evidence.contrast import Contrast
from thinnet.study.evidence.formatting import quantity
from thinnet.study.findings.evidence_text import finalist_sentences, size
from thinnet.study.findings.results import Results

TURN = 1.02
"""A validation loss that ends more than 2 % above its lowest value has turned up."""


FALLING = 0.99
"""A validation loss that fell by more than 1 % in the last tenth of the epochs falls still."""

ANSWERS = ("helps", "hurts", "unclear")
"""The reasons with evidence, for or against; the others are why there is none."""


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Args:
        helps: whether the data show that dropout helps.
        reason: `helps`, `hurts`, or why there is no answer: `unclear` (not enough evidence), `few` (seeds), `alone` (no rate
            above 0), `naive` (a constant prediction may be as good) or `stuck` (the training loss did not come down).
        rate: the rate to use; 0 unless dropout helps.
        headline: the answer in one sentence.
        sentences: the evidence.
        overfitting: what the curves without dropout show.
    """

    helps: bool
    reason: str
    rate: float
    headline: str
    sentences: tuple[str, ...]
    overfitting: str


def judge(results: Results, data: Dataset) -> Verdict:
    """Decides: "yes" only if three methods agree that the test loss is lower with dropout; see `evidence.weigh`."""
    reason = _reason(results)
    chosen = results.chosen.label
    headline = {
        "helps": f"Yes. Dropout helps here: use {chosen}.",
        "hurts": "No. Dropout hurts here: train without it.",
        "unclear": "Not enough evidence that dropout helps here.",
        "few": f"No answer yet: the evidence needs at least {FEWEST_PAIRS} seeds.",
        "alone": "No answer: nothing was compared with training without dropout.",
        "naive": f"No answer: the network is not clearly better than {data.task.constant_name}.",
        "stuck": "No answer: the training loss did not come down.",
    }[reason]
    helps = reason == "helps"
    rate = results.chosen.rate if helps else 0.0
    return Verdict(helps, reason, rate, headline, tuple(_sentences(reason, results, data)), _overfitting(results, data.task))


def _reason(results: Results) -> str:
    if not results.finalists:
        return "alone"
    if results.naive is not None and results.seeds >= FEWEST_SEEDS and _not_below_zero(results.naive["loss"]):
        return "naive"
    if results.naive is None and _stuck(results):
        return "stuck"
    if results.seeds < FEWEST_PAIRS:
        return "few"
    evidence = results.finalists[results.compared]["loss"].evidence
    assert evidence is not None
    if evidence.worse:
        return "hurts"
    return "helps" if evidence.better and results.chosen != BASELINE else "unclear"


def _stuck(results: Results) -> bool:
    """Returns whether no epoch of the chosen configuration has a lower training loss than the first."""
    losses = results.at(results.chosen).curves["train_loss"][0]
    return len(losses) > 1 and bool(losses.min() >= losses[0])


def _sentences(reason: str, results: Results, data: Dataset) -> list[str]:
    task = data.task
    sentences = []
    if results.finalists and results.chosen == BASELINE:
        sentences.append("The mean validation loss was lowest without dropout.")
    if not results.finalists:
        loss, error = results.test["best"]["loss"], results.test["best"]["error"]
        reached = f"{task.loss_name} {loss.without:.3g} and {task.error_name} {quantity(error.without, task)}"
        sentences.append(f"On {size(results, data)} the network without dropout reaches {reached}.")
    else:
        sentences += finalist_sentences(results.compared, results, data)
    if still_falling(results):
        caution = f"Without dropout the validation {task.loss_name} was still falling at the end"
        sentences.insert(_first(results), f"{caution}: more --epochs may change the answer.")
    if results.naive is not None:
        sentences.append(_naive(results.naive, task))
    if _late(results):
        sentences.append(f"At {results.chosen.label} the validation loss was still falling: more --epochs may lower it.")
    if reason == "unclear":
        sentences.append(_advice(results.finalists[results.compared]["loss"]))
    if reason == "naive":
        sentences.append("Check the target and the features, or train longer: as it is, no comparison of rates means anything.")
    if reason == "stuck":
        sentences.append("Check the loss and the data, or try another --learning-rate: no comparison of rates means anything.")
    if reason == "alone":
        sentences.append("Name rates above 0, such as --rates 0.2,0.5.")
    if reason == "few":
        sentences.append(f"Run the same command again with --seeds {FEWEST_PAIRS} or more: it resumes from here.")
    return sentences


def _not_below_zero(contrast: Contrast) -> bool:
    return contrast.interval is None or contrast.interval.high >= 0


def _naive(naive: dict[str, Contrast], task: Task) -> str:
    loss, error = naive["loss"], naive["error"]
    reached = f"{task.loss_name} {loss.without:.3g} and {task.error_name} {quantity(error.without, task)}"
    return f"{task.constant_name[0].upper()}{task.constant_name[1:]} reaches {reached}."


def leading(verdict: Verdict, results: Results) -> tuple[list[str], list[str]]:
    """Returns the sentences to read with the headline, the next step among them, and those of the evidence."""
    sentences, first = list(verdict.sentences), _first(results) + still_falling(results)
    if verdict.reason == "naive":  # the constant prediction and the next step; the comparison means nothing
        return sentences[-2:], sentences[:-2]
    rest = sentences[first:]
    return (sentences[:first], rest) if verdict.reason in ("helps", "hurts") else (sentences[:first] + rest[-1:], rest[:-1])


def _first(results: Results) -> int:
    """Returns how many sentences say what was chosen and what it changes."""
    return 2 if results.finalists and results.chosen == BASELINE else 1


def still_falling(results: Results) -> bool:
    """Returns whether the validation loss without dropout fell by more than 1 % in the last tenth of the epochs."""
    curve = results.baseline.curves["validation_loss"][0]
    return bool(curve[-1] < FALLING * curve[int(0.9 * len(curve)) - 1])


def _late(results: Results) -> bool:
    """Returns whether the chosen configuration, unlike the baseline, was at its best only in the last tenth of the epochs."""
    end = 0.9 * results.baseline.curves["train_loss"].shape[1]
    return results.baseline.epochs_to_best < end <= results.at(results.chosen).epochs_to_best


def _advice(loss: Contrast) -> str:
    assert loss.interval is not None
    if not loss.interval.low <= 0 <= loss.interval.high:
        return "The interval excludes zero, but the three methods do not all agree: more --seeds would decide."
    if loss.interval.case_share > 0.5:
        return "The interval is wide mostly because there are few test rows: more data would narrow it, more seeds hardly."
    return "The interval is wide mostly because seeds differ: the same command with more --seeds would narrow it."


def _overfitting(results: Results, task: Task) -> str:
    curves = results.baseline.curves
    validation, train = curves["validation_loss"][0], curves["train_loss"][0]
    best = int(validation.argmin())
    start = f"Without dropout the validation {task.loss_name}"
    end = f"while the training {task.loss_name} {'falls to' if train[-1] < train[0] else 'ends at'} {train[-1]:.3g}"
    if validation[-1] <= TURN * validation[best]:
        lowest = "its lowest value" if best == len(validation) - 1 else f"close to its lowest value, {validation[best]:.3g}"
        length = counted(len(validation), "epoch")
        return f"{start} ends at {validation[-1]:.3g}, {lowest}, {end}: it does not turn up in {length}."
    lowest = f"is lowest after epoch {best + 1}, at {validation[best]:.3g}"
    return f"{start} {lowest}, and rises to {validation[-1]:.3g} by epoch {len(validation)}, {end}: the network overfits."
