"""The verdict is yes only with evidence, and its sentences describe every other case."""

from dataclasses import replace

import numpy as np
import pytest

from thinnet.study.data.dataset import Dataset, Split
from thinnet.study.data.tasks import Classification
from thinnet.study.design.configuration import BASELINE, Configuration
from thinnet.study.evidence.agreement import Evidence
from thinnet.study.evidence.contrast import Contrast, contrasts
from thinnet.study.evidence.equivalence import Probabilities
from thinnet.study.evidence.formatting import difference
from thinnet.study.evidence.statistics import Interval
from thinnet.study.findings.outcomes import choose, outcome
from thinnet.study.findings.results import Results
from thinnet.study.findings.verdict import judge, leading
from thinnet.study.training.trial import CURVES, Trial

PART = Split(np.zeros((4, 1), np.float32), np.zeros(4, np.int64), np.arange(4))
DATA = Dataset("toy", "y", Classification(("a", "b")), PART, 2, PART)


CLEAR = Interval(-0.5, -0.6, -0.4)
BETTER, WORSE, NEITHER = (Evidence(*found, 0.01) for found in ((True, False), (False, True), (False, False)))
BELOW = Interval(-0.1, -0.2, -0.01)


def at(rate: float) -> Configuration:
    return Configuration("dropout", rate) if rate else BASELINE


def trials(rate: float, held: list[float]) -> list[Trial]:
    """Eight trials whose validation loss is `held`, a little different for every seed."""
    curves = [{name: [value + 0.01 * seed for value in held] for name in CURVES} for seed in range(8)]
    return [Trial(at(rate), seed, curves[seed], int(np.argmin(held)), 1.0) for seed in range(8)]


def results(
    chosen: float,
    evidence: Evidence,
    interval: Interval = BELOW,
    held: tuple[float, ...] = (0.3, 0.2, 0.4),
    beside: Interval = CLEAR,
    seeds: int = 8,
) -> Results:
    """Results of p = 0.5 beside the baseline."""
    base = trials(0.0, list(held))[:seeds]
    outcomes = [outcome(BASELINE, base, base), outcome(at(0.5), trials(0.5, [0.3, 0.25, 0.2])[:seeds], base)]
    more = (0.05, evidence, Probabilities(0.9, 0.08, 0.02, 0.003))
    contrast = {"loss": Contrast(0.2, 0.3, interval, *more), "error": Contrast(0.02, 0.03, interval, *more)}
    naive = {"loss": Contrast(0.2, 0.7, beside), "error": Contrast(0.02, 0.5, beside)}
    pair = {"best": contrast, "last": contrast}
    return Results(outcomes, at(chosen), seeds, pair, naive, [], finalists={at(0.5): contrast})


@pytest.mark.parametrize(
    ("chosen", "evidence", "reason", "headline"),
    [
        (0.5, BETTER, "helps", "Yes. Dropout helps here: use p = 0.5."),
        (0.5, WORSE, "hurts", "No. Dropout hurts here: train without it."),
        (0.0, WORSE, "hurts", "No. Dropout hurts here: train without it."),
        (0.5, NEITHER, "unclear", "Not enough evidence that dropout helps here."),
        (0.0, NEITHER, "unclear", "Not enough evidence that dropout helps here."),
        (0.0, BETTER, "unclear", "Not enough evidence that dropout helps here."),
    ],
)
def test_verdict(chosen: float, evidence: Evidence, reason: str, headline: str):
    verdict = judge(results(chosen, evidence), DATA)
    assert (verdict.reason, verdict.headline) == (reason, headline)
    assert verdict.helps == (reason == "helps")
    assert verdict.rate == (chosen if reason == "helps" else 0.0)


def test_fewer_than_eight_seeds_are_no_answer():
    verdict = judge(results(0.5, NEITHER, seeds=7), DATA)
    assert (verdict.reason, verdict.headline) == ("few", "No answer yet: the evidence needs at least 8 seeds.")
    assert "--seeds 8 or more" in verdict.sentences[-1]


def test_no_verdict_where_a_constant_prediction_may_be_as_good():
    found = results(0.5, BETTER, beside=Interval(-0.1, -0.3, 0.1))
    verdict = judge(found, DATA)
    assert (verdict.reason, verdict.helps, verdict.rate) == ("naive", False, 0.0)
    assert verdict.headline == "No answer: the network is not clearly better than always predicting the shares of the classes."


@pytest.mark.parametrize(
    ("train", "reason"), [((1e20, 1e20, 1e20), "stuck"), ((1e20, 2e20, 5e20), "stuck"), ((3, 2, 4), "helps")]
)
def test_no_verdict_where_the_loss_of_the_user_does_not_come_down(train: tuple[float, ...], reason: str):
    found = replace(results(0.5, BETTER), naive=None)
    for each in found.outcomes:
        each.curves["train_loss"] = np.array([train] * 3)
    assert judge(found, DATA).reason == reason


@pytest.mark.parametrize("evidence", [BETTER, WORSE, NEITHER])
def test_a_loss_that_still_falls_is_named_beside_the_headline(evidence: Evidence):
    found = results(0.5, evidence)
    words = "was still falling at the end: more --epochs may change the answer."
    for values, falls in ((np.linspace(2, 1, 20), True), (np.r_[np.linspace(2, 1, 10), [1.0] * 10], False)):
        found.baseline.curves["validation_loss"] = np.stack([values] * 3)
        verdict = judge(found, DATA)
        lead, rest = leading(verdict, found)
        assert any(sentence.endswith(words) for sentence in lead) is falls
        assert not any(sentence.endswith(words) for sentence in rest)
        assert sorted(lead + rest) == sorted(verdict.sentences)


def test_the_evidence_is_in_words():
    sentences = judge(results(0.5, BETTER), DATA).sentences
    assert "The p-value for a lower NLL is 0.010. It is the probability of a difference at least this large" in " ".join(
        sentences
    )
    assert "On new data, p = 0.5 is better by more than 1 % (90 %), the same within 1 % (8 %), or worse (2 %)." in sentences
    assert (
        "In four of five cases, 4 test rows and 8 seeds show a true difference of 0.050 in NLL, or 5.0 points of error."
        in sentences
    )


def test_the_p_value_is_that_of_the_direction_and_names_its_correction():
    found = results(0.5, Evidence(False, True, 0.004))
    worse = {name: replace(contrast, chosen=0.4) for name, contrast in found.finalists[at(0.5)].items()}
    both = replace(found, finalists={at(0.5): worse, at(0.2): worse})
    assert "for a higher NLL, corrected for 2 finalists (Holm), is 0.004" in " ".join(judge(both, DATA).sentences)


def test_an_interval_below_zero_alone_is_not_enough():
    assert "the three methods do not all agree" in judge(results(0.5, NEITHER), DATA).sentences[-1]


def test_no_verdict_where_no_rate_above_zero_was_compared():
    found = results(0.0, NEITHER)
    verdict = judge(replace(found, outcomes=found.outcomes[:1], finalists={}), DATA)
    assert (verdict.reason, verdict.headline) == ("alone", "No answer: nothing was compared with training without dropout.")


@pytest.mark.parametrize(("share", "words"), [(0.9, "more data would narrow it"), (0.1, "more --seeds would narrow it")])
def test_unclear_verdict_says_what_would_help(share: float, words: str):
    verdict = judge(results(0.5, NEITHER, Interval(-0.1, -0.2, 0.1, share)), DATA)
    assert words in verdict.sentences[-1]


def test_a_rising_error_is_named_although_the_loss_falls():
    both = results(0.5, BETTER)
    worse = both.finalists[at(0.5)] | {"error": Contrast(0.05, 0.02, Interval(0.03, 0.01, 0.05), 0.01, WORSE)}
    verdict = judge(replace(both, finalists={at(0.5): worse}), DATA)
    assert verdict.helps
    assert "which is worse: weigh the two" in verdict.sentences[1]


@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (BETTER, BETTER, ", also better."),
        (WORSE, WORSE, ", also worse."),
        (WORSE, BETTER, ", which is better: weigh the two."),
        (NEITHER, BETTER, ", which is better."),
        (NEITHER, WORSE, ", which is worse."),
        (BETTER, NEITHER, "; not enough evidence for either."),
    ],
)
def test_the_error_is_set_beside_what_the_loss_shows(loss: Evidence, error: Evidence, words: str):
    found = results(0.5, loss)
    pair = found.finalists[at(0.5)] | {"error": Contrast(0.05, 0.02, Interval(0.03, 0.01, 0.05), 0.01, error)}
    sentences = judge(replace(found, finalists={at(0.5): pair}), DATA).sentences
    assert next(each for each in sentences if each.startswith("The error changes")).endswith(words)


def test_overfitting_is_described_only_where_it_occurs():
    assert "the network overfits" in judge(results(0.5, NEITHER), DATA).overfitting
    assert "does not turn up" in judge(results(0.5, NEITHER, held=(0.4, 0.3, 0.2)), DATA).overfitting


def test_of_equal_rates_the_smallest_is_chosen():
    base = trials(0.0, [0.3, 0.2])
    assert choose([outcome(at(rate), trials(rate, [0.3, 0.2]), base) for rate in (0.0, 0.2, 0.5)], 8) == BASELINE


def test_differences_are_paired_by_seed():
    base = trials(0.0, [0.5, 0.4])
    summary = outcome(at(0.5), trials(0.5, [0.4, 0.3]), base).views["best"]
    assert summary.difference is not None
    assert (summary.difference.low, summary.difference.high) == pytest.approx((-0.1, -0.1))


def test_contrast_is_paired_by_seed_and_row():
    rng = np.random.default_rng(0)
    without = {"loss": rng.random((3, 50)), "error": np.zeros((3, 50))}
    chosen = {"loss": without["loss"] - 0.25, "error": np.ones((3, 50))}
    (contrast,) = contrasts(DATA, [(chosen, without)])
    interval = contrast["loss"].interval
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((-0.25, -0.25))
    assert contrast["error"].chosen - contrast["error"].without == 1


def test_the_interval_that_is_shown_is_the_one_that_decides():
    """A difference that one comparison shows and nine do not: the interval contains zero with the second, and says why."""
    rng = np.random.default_rng(3)
    without = {"loss": np.ones((8, 200)), "error": np.zeros((8, 200))}
    chosen = {"loss": without["loss"] + rng.normal(-0.1, 0.1, (8, 1)), "error": np.zeros((8, 200))}
    alone, corrected = (contrasts(DATA, [(chosen, without)], number)[0]["loss"] for number in (1, 9))
    for contrast, words in (
        (alone, "(95 % interval \N{MINUS SIGN}"),
        (corrected, "(95 % interval corrected for 9 comparisons,"),
    ):
        assert contrast.interval and contrast.evidence
        assert contrast.evidence.better == (contrast.interval.high < 0) == (contrast is alone)
        assert words in difference(contrast)
