"""The answer: does dropout help, at which rate, and how certain is that?"""

from dataclasses import dataclass

from thinnet.report.formatting import counted
from thinnet.study.configuration import BASELINE
from thinnet.study.dataset import Dataset
from thinnet.study.formatting import difference, quantity
from thinnet.study.plan import FEWEST_SEEDS
from thinnet.study.results import Results
from thinnet.study.statistics import Contrast
from thinnet.study.tasks import Task

TURN = 1.02
"""A validation loss that ends more than 2 % above its lowest value has turned up."""


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Args:
        helps: whether the data show that dropout helps.
        reason: `helps`, `hurts`, `zero` (no rate was better on the validation set), or why there is no answer: `unclear`,
            `few` (seeds), `alone` (no rate above 0) or `naive` (a constant prediction may be as good).
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
    """Decide: "yes" only if the 95 % interval of the test loss difference lies below zero."""
    reason = _reason(results)
    chosen = results.chosen.label
    headline = {
        "helps": f"Yes. Dropout helps here: use {chosen}.",
        "hurts": "No. Dropout hurts here: train without it.",
        "zero": "No. No rate of dropout beats training without it here.",
        "unclear": "Not enough evidence that dropout helps here.",
        "few": f"No answer yet: an interval needs at least {FEWEST_SEEDS} seeds.",
        "alone": "No answer: nothing was compared with training without dropout.",
        "naive": f"No answer: the network is not clearly better than {data.task.constant_name}.",
    }[reason]
    helps = reason == "helps"
    rate = results.chosen.rate if helps else 0.0
    return Verdict(helps, reason, rate, headline, tuple(_evidence(reason, results, data)), _overfitting(results, data.task))


def _reason(results: Results) -> str:
    interval = results.test["best"]["loss"].interval
    if len(results.outcomes) < 2:
        return "alone"
    if interval is None:
        return "few"
    if results.naive is not None and _not_below_zero(results.naive["loss"]):
        return "naive"
    if results.chosen == BASELINE:
        return "zero"
    if interval.high < 0:
        return "helps"
    return "hurts" if interval.low > 0 else "unclear"


def _evidence(reason: str, results: Results, data: Dataset) -> list[str]:
    task, loss, error = data.task, results.test["best"]["loss"], results.test["best"]["error"]
    where = f"On {len(data.test)} test rows and {counted(results.seeds, 'seed')}"
    if results.chosen == BASELINE:
        reached = f"{task.loss_name} {loss.without:.3g} and {task.error_name} {quantity(error.without, task)}"
        sentences = [
            "The mean validation loss was lowest without dropout.",
            f"{where} the network without dropout reaches {reached}.",
        ]
    else:
        change = f"changes the {task.loss_name} from {loss.without:.3g} to {loss.chosen:.3g}"
        errors = f"from {quantity(error.without, task)} to {quantity(error.chosen, task)}"
        errors = f"{errors}: {difference(error, task.error_factor, task.difference_unit)}{_standing(error)}"
        sentences = [
            f"{where}, {results.chosen.label} {change}: {difference(loss)}.",
            f"The {task.error_name} changes {errors}.",
        ]
    if results.naive is not None:
        sentences.append(_naive(results.naive, task))
    if _late(results):
        sentences.append(f"At {results.chosen.label} the validation loss was still falling: more --epochs may lower it.")
    if reason == "unclear":
        sentences.append(_advice(loss))
    if reason == "naive":
        sentences.append("Check the target and the features, or train longer: as it is, no comparison of rates means anything.")
    if reason == "alone":
        sentences.append("Name rates above 0, such as --rates 0.2,0.5.")
    if reason == "few":
        sentences.append(f"Run the same command again with --seeds {FEWEST_SEEDS} or more, or a longer --budget.")
    return sentences


def _not_below_zero(contrast: Contrast) -> bool:
    return contrast.interval is None or contrast.interval.high >= 0


def _naive(naive: dict[str, Contrast], task: Task) -> str:
    loss, error = naive["loss"], naive["error"]
    reached = f"{task.loss_name} {loss.without:.3g} and {task.error_name} {quantity(error.without, task)}"
    return f"{task.constant_name[0].upper()}{task.constant_name[1:]} reaches {reached}."


def _late(results: Results) -> bool:
    """Return whether the chosen configuration, unlike the baseline, was at its best only in the last tenth of the epochs."""
    end = 0.9 * results.baseline.curves["train_loss"].shape[1]
    return results.baseline.epochs_to_best < end <= results.at(results.chosen).epochs_to_best


def _advice(loss: Contrast) -> str:
    assert loss.interval is not None
    if loss.interval.case_share > 0.5:
        return "The interval is wide mostly because there are few test rows: more data would narrow it, more seeds hardly."
    return "The interval is wide mostly because seeds differ: the same command with more --seeds would narrow it."


def _standing(error: Contrast) -> str:
    if error.interval is None:
        return ""
    if error.interval.high < 0:
        return ", also better"
    return ", which is worse: weigh the two" if error.interval.low > 0 else ", which could be chance"


def _overfitting(results: Results, task: Task) -> str:
    curves = results.baseline.curves
    validation, train = curves["validation_loss"][0], curves["train_loss"][0]
    best = int(validation.argmin())
    start = f"Without dropout the validation {task.loss_name}"
    end = f"while the training {task.loss_name} falls to {train[-1]:.2g}"
    if validation[-1] <= TURN * validation[best]:
        stays = f"ends at {validation[-1]:.3g}, close to its lowest value, {validation[best]:.3g}"
        return f"{start} {stays}, {end}: it does not turn up in {len(validation)} epochs."
    lowest = f"is lowest after epoch {best + 1}, at {validation[best]:.3g}"
    return f"{start} {lowest}, and rises to {validation[-1]:.3g} by epoch {len(validation)}, {end}: the network overfits."
