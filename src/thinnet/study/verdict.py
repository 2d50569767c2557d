"""The answer in words: does dropout help here, at which rate, and how sure is that."""

from dataclasses import dataclass

from thinnet.study.cases import Data
from thinnet.study.findings import Contrast, Findings
from thinnet.study.plan import FEWEST_SEEDS
from thinnet.study.tasks import Task
from thinnet.study.words import counted, difference, quantity

TURN = 1.02
"""A hold-out loss that ends more than 2 % above its lowest has turned up."""


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Args:
        helps: whether dropout is shown to help.
        reason: `helps`, `hurts`, `zero` (no rate was better on the hold-out), `unclear` or `few` (seeds).
        rate: the rate to use; 0 unless dropout is shown to help.
        headline: the answer in one sentence.
        sentences: what it rests on.
        overfitting: what training without dropout looks like.
    """

    helps: bool
    reason: str
    rate: float
    headline: str
    sentences: tuple[str, ...]
    overfitting: str


def judge(findings: Findings, data: Data) -> Verdict:
    """Draws the conclusion: "yes" only if the 95 % interval of the test loss lies below zero as a whole.

    Args:
        findings: what the trials say.
        data: what was studied.

    Returns:
        The verdict.
    """
    reason = reason_of(findings)
    chosen = f"p = {findings.chosen:g}"
    headline = {
        "helps": f"Yes. Dropout helps here: use {chosen}.",
        "hurts": "No. Dropout hurts here: train without it.",
        "zero": "No. No rate of dropout beats training without it here.",
        "unclear": "No. There is not enough evidence that dropout helps here.",
        "few": f"No answer yet: {counted(findings.seeds, 'seed')} cannot say how sure a difference is.",
    }[reason]
    helps = reason == "helps"
    return Verdict(
        helps=helps,
        reason=reason,
        rate=findings.chosen if helps else 0.0,
        headline=headline,
        sentences=tuple(evidence(reason, findings, data)),
        overfitting=overfitting(findings, data.task),
    )


def reason_of(findings: Findings) -> str:
    """Tells the five cases apart.

    Args:
        findings: what the trials say.

    Returns:
        One of the reasons of `Verdict`.
    """
    interval = findings.test["best"]["loss"].interval
    if interval is None:
        return "few"
    if findings.chosen == 0:
        return "zero"
    if interval.high < 0:
        return "helps"
    return "hurts" if interval.low > 0 else "unclear"


def evidence(reason: str, findings: Findings, data: Data) -> list[str]:
    """Says what the answer rests on, and what would make it surer.

    Args:
        reason: which case it is.
        findings: what the trials say.
        data: what was studied.

    Returns:
        Full sentences.
    """
    task, loss, error = data.task, findings.test["best"]["loss"], findings.test["best"]["error"]
    where = f"On {len(data.test)} test rows and {counted(findings.seeds, 'seed')}"
    if findings.chosen == 0:
        reached = f"{task.loss_name} {loss.without:.3g} and {task.error_name} {quantity(error.without, task)}"
        sentences = [
            "The mean hold-out loss was lowest at p = 0.",
            f"{where} the network without dropout reaches {reached}.",
        ]
    else:
        fall = f"the {task.loss_name} from {loss.without:.3g} to {loss.chosen:.3g}"
        errors = f"from {quantity(error.without, task)} to {quantity(error.chosen, task)}"
        change = difference(error, task.error_factor, task.difference_unit)
        sentences = [
            f"{where}, p = {findings.chosen:g} takes {fall}: {difference(loss)}.",
            f"The {task.error_name} goes {errors}: {change}{standing(error)}.",
        ]
    if late(findings):
        sentences.append(f"At p = {findings.chosen:g} the hold-out was still improving: more --epochs may favour it.")
    if reason == "unclear":
        sentences.append(advice(loss))
    if reason == "few":
        sentences.append(f"Run the same command again with --seeds {FEWEST_SEEDS} or more, or a longer --budget.")
    return sentences


def late(findings: Findings) -> bool:
    """Says whether the chosen rate, unlike rate 0, was at its best only in the last tenth of the epochs.

    Args:
        findings: what the trials say.

    Returns:
        Whether more epochs could change the answer.
    """
    end = 0.9 * findings.arms[0].curves["train_loss"].shape[1]
    return findings.arms[0].epochs_to_best < end <= findings.arm(findings.chosen).epochs_to_best


def advice(loss: Contrast) -> str:
    """Says what would narrow the interval.

    Args:
        loss: the contrast of the test loss.

    Returns:
        A sentence.
    """
    assert loss.interval is not None
    if loss.interval.case_share > 0.5:
        return "The interval is wide mostly because the test rows are few: more data would narrow it, more seeds hardly."
    return "The interval is wide mostly because seeds differ: the same command with more --seeds would narrow it."


def standing(contrast: Contrast) -> str:
    """Says on which side of zero the interval of an error lies.

    Args:
        contrast: of the error.

    Returns:
        The end of a sentence.
    """
    if contrast.interval is None:
        return ""
    if contrast.interval.high < 0:
        return ", also better"
    return ", which is worse: weigh the two" if contrast.interval.low > 0 else ", which could be chance"


def overfitting(findings: Findings, task: Task) -> str:
    """Says what the curves without dropout do after their best epoch.

    Args:
        findings: what the trials say.
        task: names the loss.

    Returns:
        A sentence.
    """
    curves = findings.arms[0].curves
    held, train = curves["validation_loss"][0], curves["train_loss"][0]
    best = int(held.argmin())
    start = f"Without dropout the hold-out {task.loss_name}"
    end = f"while the training {task.loss_name} goes to {train[-1]:.2g}"
    if held[-1] <= TURN * held[best]:
        stays = f"ends at {held[-1]:.3g}, close to its lowest, {held[best]:.3g}"
        return f"{start} {stays}, {end}: in {len(held)} epochs it does not turn up."
    turns = f"is lowest after epoch {best + 1}, at {held[best]:.3g}, and has climbed to {held[-1]:.3g} by epoch {len(held)}"
    return f"{start} {turns}, {end}: from there on the network over-fits."
