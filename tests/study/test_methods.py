"""Methods compared at the same rates: configurations, shared seeds, sentences, and files."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thinnet.study import comparison_text
from thinnet.study.command import run_study
from thinnet.study.comparison import Comparison, Ratio, compare, to_target
from thinnet.study.network import seeded_network, thinned
from thinnet.study.plan import DROPOUT, THIN, Plan, StudyError, TrialKey
from thinnet.study.preparing import prepare
from thinnet.study.results import Results, rate_result
from thinnet.study.statistics import Interval
from thinnet.study.tables import read_table
from thinnet.study.tasks import Classification
from thinnet.study.trial import CURVES, Trial, train

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
    assert plan.configurations == ((DROPOUT, 0.0), (DROPOUT, 0.2), (THIN, 0.2), (DROPOUT, 0.5), (THIN, 0.5))
    assert Plan().configurations == tuple((DROPOUT, rate) for rate in Plan().rates)
    assert Plan(rates=(0.5,), methods=(THIN,)).configurations == ((THIN, 0.0), (THIN, 0.5))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"methods": ("thinning",)}, "--methods: every method must be among dropout, thin; got 'thinning'. Write, for"),
        ({"methods": ("dropout", "")}, "--methods: every method must be among dropout, thin; got ''"),
        ({"methods": ()}, "--methods: every method must be among dropout, thin; got 'none'"),
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
    with pytest.raises(StudyError, match=r"--rates: thin must skip units of every layer; got 0\.1 and 64,4: site 5 is"):
        compared(tmp_path / "out", plan)
    assert not (tmp_path / "out").exists()


def test_methods_of_one_seed_share_weights_and_batches(data: Any):
    dense, other = (seeded_network(data, SMALL, 0.5, seed=3) for _ in range(2))
    thin = thinned(other, data, SMALL, TrialKey(THIN, 0.5, 3))
    assert dense.state_dict().keys() == thin.state_dict().keys()
    assert all(torch.equal(value, thin.state_dict()[name]) for name, value in dense.state_dict().items())
    without = [train(data, SMALL, TrialKey(method, 0.0, 1))[0].curves for method in BOTH]
    assert without[0] == without[1]


def test_thinned_trial_is_a_function_of_its_key(data: Any):
    one, again = (train(data, SMALL, TrialKey(THIN, 0.6, 1))[0] for _ in range(2))
    assert one.curves == again.curves
    assert one.key == TrialKey(THIN, 0.6, 1)
    assert one.curves != train(data, SMALL, TrialKey(DROPOUT, 0.6, 1))[0].curves
    assert one.curves != train(data, replace(SMALL, groups=1), TrialKey(THIN, 0.6, 1))[0].curves


def test_a_study_of_both_methods_resumes_with_the_same_result(compared: Callable, tmp_path: Path):
    assert compared(tmp_path / "a") == 0
    assert [(each["method"], each["rate"]) for each in result(tmp_path / "a")["methods"]["comparisons"]] == [
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


def test_the_first_method_alone_has_the_same_result(compared: Callable, tmp_path: Path):
    assert compared(tmp_path / "both") == 0
    assert compared(tmp_path / "one", replace(SMALL, methods=(DROPOUT,), groups=1)) == 0
    both, one = result(tmp_path / "both"), result(tmp_path / "one")
    assert all(both[part] == one[part] for part in ("verdict", "configurations", "test", "test_looks"))
    assert one["methods"] == {"sentences": [], "comparisons": [], "configurations": {}}


@pytest.mark.parametrize("change", [{"methods": (DROPOUT,), "groups": 1}, {"groups": 1}], ids=str)
def test_folder_of_other_methods_is_refused(compared: Callable, tmp_path: Path, change: dict):
    assert compared(tmp_path / "out") == 0
    with pytest.raises(StudyError, match=f"the folder must be new or hold this same study, with {next(iter(change))}"):
        compared(tmp_path / "out", replace(SMALL, **change))


def test_a_folder_from_before_methods_resumes(study: Callable, csv: Path, tmp_path: Path):
    command = (csv, "--target", "label", "--json", "--out", tmp_path / "out")
    first = study(*command)
    with sqlite3.connect(tmp_path / "out" / "study.db") as database:
        assert database.execute("DELETE FROM trial_user_attributes WHERE key = 'method'").rowcount == 9
        ((text,),) = database.execute("SELECT value_json FROM study_user_attributes WHERE key = 'identity'").fetchall()
        old = {name: value for name, value in json.loads(text).items() if name not in ("methods", "groups")}
        database.execute("UPDATE study_user_attributes SET value_json = ? WHERE key = 'identity'", (json.dumps(old),))
    database.close()
    again = study(*command)
    assert "9 trials already finished" in again.err
    assert again.out == first.out


def trial(method: str, rate: float, seed: int, held: list[float], seconds: float) -> Trial:
    curves = {name: [value + 0.01 * seed for value in held] for name in CURVES}
    return Trial(rate, seed, curves, int(np.argmin(held)), seconds, method=method)


def test_comparison_is_paired_by_seed_and_row():
    rng = np.random.default_rng(0)
    plan = Plan(rates=(0.5,), methods=BOTH)
    rounds = {
        (DROPOUT, 0.5): [trial(DROPOUT, 0.5, seed, [0.4, 0.3, 0.2, 0.3], 8.0 + seed) for seed in range(4)],
        (THIN, 0.5): [trial(THIN, 0.5, seed, [0.4, 0.2, 0.3, 0.3], 4.0 + seed / 2) for seed in range(4)],
    }
    losses = rng.random((4, 50))
    scores = {
        (DROPOUT, 0.5): {"best": {"loss": losses, "error": np.zeros((4, 50))}},
        (THIN, 0.5): {"best": {"loss": losses + 0.125, "error": np.ones((4, 50))}},
    }
    (one,) = compare(TASK, plan, rounds, scores)
    assert one.interval is not None and one.wide is not None and one.seconds.interval is not None
    assert (one.interval.low, one.interval.high) == pytest.approx((0.125, 0.125))
    assert one.error - one.error_against == 1
    assert (one.seconds.interval.low, one.seconds.interval.high) == pytest.approx((0.5, 0.5))
    assert one.seconds_to_target.mean == pytest.approx(0.5 * 2 / 3)  # after 2 epochs of 4, and after 3
    assert one.differs


def test_intervals_of_many_rates_are_widened_for_their_number():
    rng = np.random.default_rng(1)
    base, losses = rng.random((4, 50)), rng.random((4, 50))
    widths = []
    for rates in ((0.5,), (0.2, 0.5, 0.8)):
        both = [(method, rate) for method in BOTH for rate in rates]
        rounds = {each: [trial(*each, seed, [0.3, 0.2], 1.0) for seed in range(4)] for each in both}
        scores = {each: {"best": {"loss": losses if each[0] == THIN else base, "error": base}} for each in both}
        one = compare(TASK, Plan(rates=rates, methods=BOTH), rounds, scores)[0]
        assert one.interval is not None and one.wide is not None
        widths.append((one.interval.high - one.interval.low, one.wide.high - one.wide.low))
    assert widths[0][0] == widths[0][1] == widths[1][0]
    assert widths[1][1] > 1.15 * widths[1][0]


def test_both_reach_the_target_and_the_ratio_inverts_with_the_order():
    fast, slow = trial(THIN, 0.5, 0, [0.4, 0.2, 0.1], 3.0), trial(DROPOUT, 0.5, 0, [0.5, 0.4, 0.2], 6.0)
    assert to_target(fast, slow) == pytest.approx(2 / 6)
    assert to_target(slow, fast) == pytest.approx(6 / 2)


def comparison(rate: float, interval: Interval | None) -> Comparison:
    mean = interval.mean if interval else 0.0
    times = Ratio(0.5, Interval(0.5, 0.4, 0.6)), Ratio(0.7, None)
    return Comparison(THIN, DROPOUT, rate, 0.2 + mean, 0.2, interval, interval, 0.1, 0.1, None, *times)


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


def test_sentences_name_the_rates_that_differ_and_the_times():
    base = [trial(DROPOUT, 0.0, seed, [0.4, 0.3], 1.0) for seed in range(3)]
    rates = [rate_result(rate, [replace(each, rate=rate) for each in base], base) for rate in (0.0, 0.2, 0.5, 0.8)]
    even, worse, better = Interval(0.0, -0.01, 0.01), Interval(0.1, 0.05, 0.15), Interval(-0.1, -0.15, -0.05)
    pairs = [comparison(0.2, even), comparison(0.5, worse), comparison(0.8, better)]
    found = Results(rates, 0.0, 3, {}, {}, [], {THIN: rates}, pairs)
    one, rest = comparison_text.loss_sentences(found, TASK)
    assert one.startswith("At p = 0.2 thin")
    assert rest.endswith("for their number, thin is worse at p = 0.5 and thin is better at p = 0.8.")
    assert comparison_text.time_sentences(found) == [
        "At p = 0.2 thin takes 0.50x (0.40 to 0.60) the training time of dropout, "
        "and 0.70x the time to the lowest validation loss that both reach."
    ]
    assert "the data show no difference" in comparison_text._at_all_rates([comparison(0.2, even), comparison(0.5, even)])
