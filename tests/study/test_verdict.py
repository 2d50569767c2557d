"""The verdict is yes only with evidence, and its sentences describe every other case."""

from dataclasses import replace

import numpy as np
import pytest

from thinnet.study.configuration import BASELINE, Configuration
from thinnet.study.dataset import Dataset, Split
from thinnet.study.results import Results, choose, contrasts, outcome
from thinnet.study.statistics import Contrast, Interval
from thinnet.study.tasks import Classification
from thinnet.study.trial import CURVES, Trial
from thinnet.study.verdict import judge

PART = Split(np.zeros((4, 1), np.float32), np.zeros(4, np.int64), np.arange(4))
DATA = Dataset("toy", "y", Classification(("a", "b")), PART, 2, PART)


CLEAR = Interval(-0.5, -0.6, -0.4)


def at(rate: float) -> Configuration:
    return Configuration("dropout", rate) if rate else BASELINE


def trials(rate: float, held: list[float]) -> list[Trial]:
    """Three trials whose validation loss is `held`, a little different for every seed."""
    curves = [{name: [value + 0.01 * seed for value in held] for name in CURVES} for seed in range(3)]
    return [Trial(at(rate), seed, curves[seed], int(np.argmin(held)), 1.0) for seed in range(3)]


def results(
    chosen: float, interval: Interval | None, held: tuple[float, ...] = (0.3, 0.2, 0.4), beside: Interval = CLEAR
) -> Results:
    base = trials(0.0, list(held))
    rates = [outcome(BASELINE, base, base), outcome(at(0.5), trials(0.5, [0.3, 0.25, 0.2]), base)]
    contrast = {"loss": Contrast(0.2, 0.3, interval), "error": Contrast(0.02, 0.03, interval)}
    naive = {"loss": Contrast(0.2, 0.7, beside), "error": Contrast(0.02, 0.5, beside)}
    return Results(rates, at(chosen), 3, {"best": contrast, "last": contrast}, naive, [])


@pytest.mark.parametrize(
    ("chosen", "interval", "reason", "headline"),
    [
        (0.5, Interval(-0.1, -0.2, -0.01), "helps", "Yes. Dropout helps here: use p = 0.5."),
        (0.5, Interval(0.1, 0.01, 0.2), "hurts", "No. Dropout hurts here: train without it."),
        (0.5, Interval(-0.1, -0.2, 0.01), "unclear", "Not enough evidence that dropout helps here."),
        (0.5, Interval(-0.1, -0.2, 0.0), "unclear", "Not enough evidence that dropout helps here."),
        (0.0, Interval(0.0, 0.0, 0.0), "zero", "No. No rate of dropout beats training without it here."),
        (0.5, None, "few", "No answer yet: an interval needs at least 3 seeds."),
    ],
)
def test_verdict(chosen: float, interval: Interval | None, reason: str, headline: str):
    verdict = judge(results(chosen, interval), DATA)
    assert (verdict.reason, verdict.headline) == (reason, headline)
    assert verdict.helps == (reason == "helps")
    assert verdict.rate == (chosen if reason == "helps" else 0.0)


def test_no_verdict_where_a_constant_prediction_may_be_as_good():
    found = results(0.5, Interval(-0.1, -0.2, -0.01), beside=Interval(-0.1, -0.3, 0.1))
    verdict = judge(found, DATA)
    assert (verdict.reason, verdict.helps, verdict.rate) == ("naive", False, 0.0)
    assert verdict.headline == "No answer: the network is not clearly better than always predicting the shares of the classes."


def test_no_verdict_where_no_rate_above_zero_was_compared():
    found = results(0.0, Interval(0.0, 0.0, 0.0))
    verdict = judge(replace(found, outcomes=found.outcomes[:1]), DATA)
    assert (verdict.reason, verdict.headline) == ("alone", "No answer: nothing was compared with training without dropout.")


@pytest.mark.parametrize(("share", "words"), [(0.9, "more data would narrow it"), (0.1, "more --seeds would narrow it")])
def test_unclear_verdict_says_what_would_help(share: float, words: str):
    verdict = judge(results(0.5, Interval(-0.1, -0.2, 0.1, share)), DATA)
    assert words in verdict.sentences[-1]


def test_a_rising_error_is_named_although_the_loss_falls():
    both = results(0.5, Interval(-0.1, -0.2, -0.05))
    worse = {"loss": both.test["best"]["loss"], "error": Contrast(0.05, 0.02, Interval(0.03, 0.01, 0.05))}
    verdict = judge(replace(both, test={"best": worse, "last": worse}), DATA)
    assert verdict.helps
    assert "which is worse: weigh the two" in verdict.sentences[1]


def test_overfitting_is_described_only_where_it_occurs():
    assert "the network overfits" in judge(results(0.5, None), DATA).overfitting
    assert "does not turn up" in judge(results(0.5, None, held=(0.4, 0.3, 0.2)), DATA).overfitting


def test_of_equal_rates_the_smallest_is_chosen():
    base = trials(0.0, [0.3, 0.2])
    assert choose([outcome(at(rate), trials(rate, [0.3, 0.2]), base) for rate in (0.0, 0.2, 0.5)], 3) == BASELINE


def test_differences_are_paired_by_seed():
    base = trials(0.0, [0.5, 0.4])
    summary = outcome(at(0.5), trials(0.5, [0.4, 0.3]), base).views["best"]
    assert summary.difference is not None
    assert (summary.difference.low, summary.difference.high) == pytest.approx((-0.1, -0.1))


def test_contrast_is_paired_by_seed_and_row():
    rng = np.random.default_rng(0)
    without = {"loss": rng.random((3, 50)), "error": np.zeros((3, 50))}
    chosen = {"loss": without["loss"] - 0.25, "error": np.ones((3, 50))}
    contrast = contrasts(DATA, chosen, without)
    interval = contrast["loss"].interval
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((-0.25, -0.25))
    assert contrast["error"].chosen - contrast["error"].without == 1
