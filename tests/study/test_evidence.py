"""Nothing is called better by chance: the rule's invariants, its false alarms and its power."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from thinnet.study.evidence.agreement import FEWEST_PAIRS, bca_interval, sign_flip, weigh
from thinnet.study.evidence.equivalence import probabilities
from thinnet.study.evidence.statistics import Estimate, crossed_estimate

SEEDS, ROWS, RUNS = 8, 60, 150
FALSE_ALARMS = stats.binom.ppf(1 - 1e-6, RUNS, 0.05)
"""Not more than 5 %, with one false failure of this test in a million."""

differences = arrays(np.float64, SEEDS, elements=st.floats(-100, 100))


def table(rng: np.random.Generator, seed: float, row: float, rest: float, shift: float = 0.0) -> np.ndarray:
    """Paired differences with three sources of noise."""
    noise = seed * rng.standard_normal((SEEDS, 1)) + row * rng.standard_normal((1, ROWS))
    return noise + rest * rng.standard_normal((SEEDS, ROWS)) + shift


@pytest.fixture
def clear() -> np.ndarray:
    return table(np.random.default_rng(0), 0.1, 0.1, 0.1, shift=-1.0)


def test_a_clear_difference_is_better_and_its_negative_is_worse(clear: np.ndarray):
    (better,), (worse,) = weigh([clear]), weigh([-clear])
    assert (better.better, better.worse, worse.better, worse.worse) == (True, False, False, True)
    assert better.p_value == worse.p_value == 1 / 2**SEEDS


def test_too_few_pairs_are_never_better_however_clear(clear: np.ndarray):
    assert [each.better for each in weigh([clear[:pairs] for pairs in range(2, FEWEST_PAIRS)])] == [False] * (FEWEST_PAIRS - 2)


@pytest.mark.parametrize("factor", [1e-20, 1e20])
def test_the_unit_of_the_loss_does_not_matter(clear: np.ndarray, factor: float):
    assert weigh([factor * clear]) == weigh([clear])


def test_the_order_of_candidates_does_not_matter(clear: np.ndarray):
    rng = np.random.default_rng(1)
    tables = [clear, table(rng, 1, 1, 1), clear + table(rng, 0.5, 0, 0)]
    assert weigh(tables[::-1]) == weigh(tables)[::-1]


def test_more_candidates_never_make_evidence_stronger():
    rng = np.random.default_rng(2)
    for _ in range(20):
        first, others = table(rng, 0.3, 1, 1, -0.5), [table(rng, 0.3, 1, 1) for _ in range(2)]
        alone, among = weigh([first])[0], weigh([first, *others])[0]
        assert among.p_value >= alone.p_value
        assert among.better <= alone.better


def test_a_choice_from_many_configurations_needs_more_evidence():
    rng = np.random.default_rng(8)
    tables = [table(rng, 0.3, 0.5, 1, -0.5) for _ in range(40)]
    found = [[weigh([each], chosen_from)[0].better for each in tables] for chosen_from in (1, 9, 81)]
    assert all(many <= few for fewer, more in itertools.pairwise(found) for few, many in zip(fewer, more, strict=True))
    assert sum(found[0]) > sum(found[1]) > sum(found[2])


def test_seeds_that_agree_are_no_evidence_where_test_rows_do_not():
    """The same test rows favour every seed alike: other rows may not."""
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((1, ROWS))
    found = table(rng, 0.01, 0, 0) + rows - rows.mean() - 0.1
    assert sign_flip(found.mean(axis=1)) == 1 / 2**SEEDS
    assert bca_interval(found.mean(axis=1)).high < 0
    assert not weigh([found])[0].better


@given(arrays(np.int64, SEEDS, elements=st.integers(-100, 100)))
def test_sign_flip_counts_all_sign_patterns(d: np.ndarray):
    signs = np.array(list(itertools.product((-1, 1), repeat=SEEDS)))
    assert sign_flip(d.astype(np.float64)) == (signs @ d <= d.sum()).mean()


@given(differences)
def test_bca_lies_within_the_data_in_every_unit(d: np.ndarray):
    one, other = bca_interval(d), bca_interval(4 * d)
    slack = 1e-9 * np.abs(d).max()
    assert d.min() - slack <= one.low <= one.high <= d.max() + slack
    scaled = (4 * one.low, 4 * one.mean, 4 * one.high)
    assert (other.low, other.mean, other.high) == pytest.approx(scaled, rel=1e-9, abs=1e-300)


def test_equal_differences_have_an_interval_of_no_width():
    interval = bca_interval(np.full(SEEDS, -0.1))
    assert interval.low == interval.mean == interval.high


@pytest.mark.parametrize("spread", [(1, 0, 0.1), (0, 1, 0.1), (0.2, 1, 1), (0, 0, 1)], ids=str)
def test_false_alarms_of_three_candidates_are_at_most_5_percent(spread: tuple[float, float, float]):
    rng = np.random.default_rng(4)
    alarms = sum(any(each.better for each in weigh([table(rng, *spread) for _ in range(3)])) for _ in range(RUNS))
    assert alarms <= FALSE_ALARMS


@pytest.mark.parametrize("freedom", [7, 20, 1000])
def test_detectable_is_where_the_interval_excludes_zero_four_times_in_five(freedom: int):
    estimate = Estimate(0.0, 0.3, freedom)
    power = stats.nct.sf(stats.t.ppf(0.975, freedom), freedom, estimate.detectable() / 0.3)
    assert power == pytest.approx(0.8, abs=0.02)


@given(st.floats(-3, 3), st.floats(0, 2), st.floats(0, 0.9))
def test_probabilities_add_up_and_mirror(shift: float, region: float, held_out: float):
    d = table(np.random.default_rng(5), 0.5, 1, 1, shift)
    one, other = probabilities(d, region, held_out), probabilities(-d, region, held_out)
    assert one.better + one.same + one.worse == pytest.approx(1)
    assert (one.better, one.same, one.worse) == pytest.approx((other.worse, other.same, other.better))


def test_probabilities_without_correlation_and_region_are_those_of_the_interval():
    d = table(np.random.default_rng(6), 0.5, 1, 1)
    interval = crossed_estimate(d).interval()
    assert probabilities(d - interval.high, 0.0, 0.0).better == pytest.approx(0.975)


def test_overlapping_training_sets_make_the_probabilities_more_cautious():
    d = table(np.random.default_rng(7), 0.5, 0.1, 0.1, shift=-0.5)
    certain = [probabilities(d, 0.0, held_out).better for held_out in (0.0, 0.25, 0.5)]
    assert certain == sorted(certain, reverse=True)
    assert certain[0] > certain[2]


def test_without_noise_the_probabilities_are_certain():
    found = probabilities(np.full((SEEDS, ROWS), -1.0), 0.1, 0.25)
    assert (found.better, found.same, found.worse) == (1, 0, 0)
