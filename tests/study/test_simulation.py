"""The whole procedure on simulated studies with a known answer: halving, choice, test and verdict."""

import json

import pytest
from scipy import stats

from benchmarks.measure import RESULTS
from benchmarks.quality.study_simulator import MIXES, SEEDS
from benchmarks.quality.study_verdicts import ALPHA, RUNS, SIZES, studies

MOST = stats.binom.ppf(1 - 1e-6, 40, ALPHA)
"""Of 40 studies without an effect: at most 5 % say "yes", with one false failure of this test in a million."""


@pytest.mark.parametrize("mix", MIXES)
def test_without_an_effect_at_most_5_percent_say_yes(mix: str):
    counts, _ = studies(0, mix, new_rows=False, effect=0.0, runs=40)
    assert counts["yes"] <= MOST


def test_a_large_effect_is_found_at_a_rate_that_has_it():
    _, notes = studies(1, "both vary", new_rows=False, effect=0.1, runs=5)
    counts, _ = studies(2, "both vary", new_rows=False, effect=2 * max(notes), runs=20)
    assert counts["yes"] >= 17
    assert counts["a rate that does not help"] == counts["no"] == 0


def test_committed_result_is_of_this_procedure_and_keeps_its_promises():
    found = json.loads((RESULTS / "study_verdicts.json").read_text())
    assert (found["settings"]["runs"], found["settings"]["seeds"]) == (RUNS, SEEDS)
    assert found["settings"]["standard deviations"] == {name: mix._asdict() for name, mix in MIXES.items()}
    same = [row for row in found["rows"] if row["rows for training"] == "the same"]
    assert [row["noise"] for row in same] == [mix for mix in MIXES for _ in SIZES]
    for row in same:
        share, low, high = row["yes, share"]
        if row["effect"] == "none":
            assert high <= ALPHA
        if row["effect"] == "as the note":
            assert low <= 0.8 <= high or share > 0.75
