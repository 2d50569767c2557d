"""Methods compared at the same rates: configurations, shared seeds, sentences, and files."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thinnet.study.command import run_study
from thinnet.study.data.preparing import prepare
from thinnet.study.data.tables import read_table
from thinnet.study.data.tasks import Classification
from thinnet.study.design.configuration import BASELINE, DROPOUT, THIN, Configuration, Line, TrialKey
from thinnet.study.design.plan import Plan, StudyError
from thinnet.study.evidence.agreement import Evidence
from thinnet.study.evidence.statistics import Interval
from thinnet.study.findings import comparison_text
from thinnet.study.findings.comparison import Comparison, compare
from thinnet.study.findings.cost import Ratio, cost, cost_sentences, to_target
from thinnet.study.findings.outcomes import outcome
from thinnet.study.findings.results import Results
from thinnet.study.training.network import seeded_network, thinned
from thinnet.study.training.trial import CURVES, Trial, train

BOTH = (DROPOUT, THIN)
SMALL = Plan(rates=(0.3, 0.6), epochs=3, hidden=(32,), methods=BOTH, groups=2)
TASK = Classification(("a", "b"))


@pytest.fixture(scope="module")
def data():
    return prepare(read_table(None, None), None, 0)


@pytest.fixture
def compared(csv: Path, request_of: Callable) -> Callable[..., int]:
    """Runs a study of both methods on the mixed rows."""
    return lambda out, plan=SMALL, **more: run_study(request_of(csv, "label", plan, out, **more))


def result(out: Path) -> dict[str, Any]:
    return {name: value for name, value in json.loads((out / "result.json").read_text()).items() if name != "seconds"}


def test_rate_0_is_trained_once_and_methods_have_one_order():
    plan = Plan(rates=(0.5, 0.2), methods=(THIN, DROPOUT, THIN))
    assert plan.methods == BOTH
    assert plan.configurations == (BASELINE, *(Configuration(method, rate) for rate in (0.2, 0.5) for method in BOTH))
    assert Plan().configurations == (BASELINE, *(Configuration(DROPOUT, rate) for rate in Plan().rates[1:]))
    assert Plan(rates=(0.5,), methods=(THIN,)).configurations == (BASELINE, Configuration(THIN, 0.5))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"methods": ("thinning",)}, "--methods: every method must be among dropout, thin, AlphaDropout"),
        ({"methods": ("dropout", "")}, "--methods: every method must be among dropout, thin"),
        ({"methods": ()}, "--methods: every method must be among dropout, thin"),
        ({"methods": BOTH, "groups": 0}, "--groups: the number must be at least 1; got 0"),
        ({"groups": 4}, "--groups: the number must be 1 where thin is not trained; got 4. Add --methods dropout,thin"),
        ({"methods": BOTH, "batch": 8, "groups": 9}, "--groups: the number must be at most the batch size, 8; got 9"),
    ],
)
def test_bad_methods_and_groups(settings: dict, words: str):
    with pytest.raises(StudyError) as caught:
        Plan(**settings)
    assert words in str(caught.value)


def test_a_rate_that_skips_no_unit_is_refused_before_training(compared: Callable, tmp_path: Path):
    plan = replace(SMALL, rates=(0.1, 0.5), hidden=(64, 4))
    with pytest.raises(StudyError, match=r"--rates: thin must skip units of every layer; got 0\.1 and 64,4: site hidden2 is"):
        compared(tmp_path / "out", plan)
    assert not (tmp_path / "out").exists()


def test_methods_of_one_seed_share_weights_and_batches(data: Any):
    dense, other = (seeded_network(data, SMALL, Configuration(THIN, 0.5), seed=3) for _ in range(2))
    thin = thinned(other, data, SMALL, Configuration(THIN, 0.5))
    assert dense.state_dict().keys() == thin.state_dict().keys()
    assert all(torch.equal(value, thin.state_dict()[name]) for name, value in dense.state_dict().items())


def test_thinned_trial_is_a_function_of_its_key(data: Any):
    one, again = (train(data, SMALL, TrialKey(Configuration(THIN, 0.6), 1))[0] for _ in range(2))
    assert one.curves == again.curves
    assert one.key == TrialKey(Configuration(THIN, 0.6), 1)
    assert one.curves != train(data, SMALL, TrialKey(Configuration(DROPOUT, 0.6), 1))[0].curves
    assert one.curves != train(data, replace(SMALL, groups=1), TrialKey(Configuration(THIN, 0.6), 1))[0].curves


def test_a_study_of_both_methods_resumes_with_the_same_result(compared: Callable, tmp_path: Path):
    assert compared(tmp_path / "a") == 0
    assert [(each["line"]["method"], each["rate"]) for each in result(tmp_path / "a")["methods"]["comparisons"]] == [
        (THIN, 0.3),
        (THIN, 0.6),
    ]
    weights = sorted((tmp_path / "a" / "weights").glob("*.pt"))
    assert len(weights) == 3 * 5
    lost, stamps = weights[-1], [path.stat().st_mtime_ns for path in weights[:-1]]
    lost.unlink()
    before = result(tmp_path / "a")
    assert compared(tmp_path / "a") == 0
    assert [path.stat().st_mtime_ns for path in weights[:-1]] == stamps
    assert result(tmp_path / "a") == before


def test_what_is_compared_does_not_change_the_numbers_of_a_configuration(compared: Callable, tmp_path: Path):
    assert compared(tmp_path / "both") == 0
    assert compared(tmp_path / "one", replace(SMALL, methods=(DROPOUT,), groups=1)) == 0
    both, one = result(tmp_path / "both")["configurations"], result(tmp_path / "one")["configurations"]
    assert [each for each in both if each["method"] != THIN] == one


@pytest.mark.parametrize("change", [{"methods": (DROPOUT,), "groups": 1}, {"groups": 1}], ids=str)
def test_folder_of_other_methods_is_refused(compared: Callable, tmp_path: Path, change: dict):
    assert compared(tmp_path / "out") == 0
    with pytest.raises(StudyError, match=f"the folder must be new or hold this same study, with {next(iter(change))}"):
        compared(tmp_path / "out", replace(SMALL, **change))


def trial(method: str, rate: float, seed: int, held: list[float], seconds: float) -> Trial:
    curves = {name: [value + 0.01 * seed for value in held] for name in CURVES}
    return Trial(Configuration(method, rate), seed, curves, int(np.argmin(held)), seconds)


def test_comparison_is_paired_by_seed_and_row():
    rng = np.random.default_rng(0)
    pair = (Configuration(THIN, 0.5), Configuration(DROPOUT, 0.5))
    rounds = {
        pair[1]: [trial(DROPOUT, 0.5, seed, [0.4, 0.3, 0.2, 0.3], 8.0 + seed) for seed in range(8)],
        pair[0]: [trial(THIN, 0.5, seed, [0.4, 0.2, 0.3, 0.3], 4.0 + seed / 2) for seed in range(8)],
    }
    losses = rng.random((8, 50))
    scores = {
        pair[1]: {"best": {"loss": losses, "error": np.zeros((8, 50))}},
        pair[0]: {"best": {"loss": losses + 0.125, "error": np.ones((8, 50))}},
    }
    (one,) = compare(TASK, [pair], rounds, scores)
    assert one.interval is not None and one.seconds.interval is not None
    assert (one.interval.low, one.interval.high) == pytest.approx((0.125, 0.125))
    assert one.error - one.error_against == 1
    assert (one.seconds.interval.low, one.seconds.interval.high) == pytest.approx((0.5, 0.5))
    assert one.seconds_to_target.mean == pytest.approx(0.5 * 2 / 3)  # after 2 epochs of 4, and after 3
    assert one.evidence is not None and one.evidence.worse and not one.evidence.better


def test_intervals_of_many_rates_are_widened_for_their_number():
    rng = np.random.default_rng(1)
    base, losses = rng.random((4, 50)), rng.random((4, 50))
    widths = []
    for rates in ((0.5,), (0.2, 0.5, 0.8)):
        pairs = [(Configuration(THIN, rate), Configuration(DROPOUT, rate)) for rate in rates]
        both = [each for pair in pairs for each in pair]
        rounds = {each: [trial(each.method, each.rate, seed, [0.3, 0.2], 1.0) for seed in range(4)] for each in both}
        scores = {each: {"best": {"loss": losses if each.method == THIN else base, "error": base}} for each in both}
        one = compare(TASK, pairs, rounds, scores)[0]
        assert one.interval is not None and one.wide is not None
        widths.append((one.interval.high - one.interval.low, one.wide.high - one.wide.low))
    assert widths[0][0] == widths[0][1] == widths[1][0]
    assert widths[1][1] > 1.15 * widths[1][0]


def test_both_reach_the_target_and_the_ratio_inverts_with_the_order():
    fast, slow = trial(THIN, 0.5, 0, [0.4, 0.2, 0.1], 3.0), trial(DROPOUT, 0.5, 0, [0.5, 0.4, 0.2], 6.0)
    assert to_target(fast, slow) == pytest.approx(2 / 6)
    assert to_target(slow, fast) == pytest.approx(6 / 2)


EVEN = Interval(0.0, -0.01, 0.01)


def comparison(rate: float, interval: Interval | None, shown: bool = True) -> Comparison:
    mean = interval.mean if interval else 0.0
    better, worse = (shown and interval is not None and end < 0 for end in ((interval or EVEN).high, -(interval or EVEN).low))
    evidence = Evidence(better, worse, 0.01)
    times = Ratio(0.5, Interval(0.5, 0.4, 0.6)), Ratio(0.7, None)
    return Comparison(Line(THIN), Line(DROPOUT), rate, 0.2 + mean, 0.2, interval, interval, evidence, 0.1, 0.1, None, *times)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (
            Interval(0.004, -0.002, 0.01),
            "thin reaches a test NLL of 0.204 and dropout 0.2: equal within ±0.010 (95 % interval -0.002 to +0.010).",
        ),
        (Interval(0.02, 0.01, 0.03), "not equal, thin is worse (95 % interval +0.010 to +0.030)."),
        (Interval(-0.02, -0.03, -0.01), "not equal, thin is better (95 % interval -0.030 to -0.010)."),
        (None, "there are too few seeds for an interval."),
    ],
)
def test_sentence_of_one_rate(interval: Interval | None, words: str):
    assert comparison_text._at_one_rate(comparison(0.5, interval), TASK).replace("\N{MINUS SIGN}", "-").endswith(words)


def test_an_interval_without_zero_alone_is_no_evidence():
    text = comparison_text._at_one_rate(comparison(0.5, Interval(-0.02, -0.03, -0.01), shown=False), TASK)
    assert text.endswith("not enough evidence for either (95 % interval \N{MINUS SIGN}0.030 to \N{MINUS SIGN}0.010).")


def test_sentences_name_the_rates_that_differ_and_the_times():
    base = [trial(DROPOUT, 0.0, seed, [0.4, 0.3], 1.0) for seed in range(3)]
    same = [outcome(Configuration(DROPOUT, rate), base, base) for rate in (0.2, 0.5, 0.8)]
    even, worse, better = EVEN, Interval(0.1, 0.05, 0.15), Interval(-0.1, -0.15, -0.05)
    pairs = [comparison(0.2, even), comparison(0.5, worse), comparison(0.8, better)]
    found = Results([outcome(BASELINE, base, base), *same], BASELINE, 3, {}, {}, [], comparisons=pairs)
    one, rest = comparison_text.loss_sentences(found, TASK)
    assert one.startswith("At p = 0.2 thin")
    assert rest.endswith("for their number (Holm), thin is worse at p = 0.5 and thin is better at p = 0.8.")
    assert comparison_text.time_sentences(found) == [
        "At p = 0.2 thin takes 0.50x (0.40 to 0.60) the training time of dropout, "
        "and 0.70x the time to the lowest validation loss that both reach."
    ]
    assert "not enough evidence of a difference" in comparison_text._at_all_rates(
        [comparison(0.2, even), comparison(0.5, even)]
    )


def test_cost_names_a_step_epochs_and_time_with_intervals():
    ours = [trial(DROPOUT, 0.5, seed, [0.4, 0.3, 0.2, 0.1], 6.0 + seed) for seed in range(3)]
    base = [trial("none", 0.0, seed, [0.3, 0.2, 0.2, 0.2], 3.0 + seed / 2) for seed in range(3)]
    found = cost(replace(SMALL, epochs=4, batch=32), ours, base, rows=100)
    assert found.milliseconds == pytest.approx(1000 * 3.5 / (4 * 4))  # 4 epochs of 4 steps
    assert (found.step.mean, found.epochs.mean, found.seconds.mean) == pytest.approx((2.0, 3 / 2, 3.0))
    assert cost_sentences(found, "NLL") == [
        "A training step at p = 0.5 takes 2.00x (2.00 to 2.00) the time of one without dropout, 219 ms.",
        "To the lowest validation NLL that both reach, p = 0.5 needs 1.50x (1.50 to 1.50) the epochs.",
        "To the lowest validation NLL that both reach, it needs 3.00x (3.00 to 3.00) the time.",
    ]
