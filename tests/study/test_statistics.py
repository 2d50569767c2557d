"""Intervals: exact small cases, invariances, and coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from thinnet.study.evidence.statistics import crossed_interval, seed_interval

TRIALS = 2000
FEWEST = stats.binom.ppf(1e-6, TRIALS, 0.93)
"""Nominal 95 %, by Satterthwaite's approximation: no coverage may fall below 93 %; one false alarm in a million."""

matrices = arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(2, 9)), elements=st.floats(-100, 100))


def test_seed_interval_is_the_t_interval():
    values = np.array([0.3, 0.9, 0.4, 1.1])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    interval = seed_interval(values)
    assert (interval.low, interval.mean, interval.high) == pytest.approx((low, values.mean(), high))


def test_without_row_noise_only_seeds_count():
    by_seed = np.array([0.1, 0.4, -0.2, 0.3])
    crossed, plain = crossed_interval(np.repeat(by_seed[:, None], 50, axis=1)), seed_interval(by_seed)
    assert (crossed.low, crossed.high) == pytest.approx((plain.low, plain.high))
    assert crossed.case_share == pytest.approx(0)


def test_without_seed_noise_only_rows_count():
    by_row = np.array([0.1, 0.4, -0.2, 0.3, 0.9])
    crossed, plain = crossed_interval(np.repeat(by_row[None, :], 3, axis=0)), seed_interval(by_row)
    assert (crossed.low, crossed.high) == pytest.approx((plain.low, plain.high))
    assert crossed.case_share == pytest.approx(1)


def test_additive_table_adds_both_variances():
    by_seed, by_row = np.array([-1.0, 0.0, 1.0]), np.array([-2.0, 0.0, 0.0, 2.0])
    interval = crossed_interval(by_seed[:, None] + by_row[None, :])
    parts = by_seed.var(ddof=1) / 3, by_row.var(ddof=1) / 4
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3)
    assert interval.high == pytest.approx(stats.t.ppf(0.975, freedom) * np.sqrt(sum(parts)))
    assert interval.case_share == pytest.approx(parts[1] / sum(parts))


@given(matrices)
def test_interval_holds_its_mean_and_is_never_nan(d: np.ndarray):
    interval = crossed_interval(d)
    assert interval.low <= interval.mean <= interval.high
    assert 0 <= interval.case_share <= 1


@given(matrices, st.sampled_from([-2.0, 0.5, 4.0]))
def test_interval_follows_sign_and_scale(d: np.ndarray, factor: float):
    one, other = crossed_interval(d), crossed_interval(factor * d)
    ends = sorted((factor * one.low, factor * one.high))
    assert (other.low, other.high) == pytest.approx(ends, abs=1e-6)


@given(matrices)
def test_order_of_seeds_and_rows_does_not_matter(d: np.ndarray):
    one, other = crossed_interval(d), crossed_interval(d[::-1, ::-1])
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-6)


@pytest.mark.parametrize("spread", [(0, 0, 1), (1, 0, 0.1), (0, 1, 0.1), (0.3, 1, 1), (1, 1, 1), (0.1, 1, 3)], ids=str)
@pytest.mark.parametrize("shape", [(3, 40), (10, 120)], ids=str)
def test_coverage(shape: tuple[int, int], spread: tuple[float, float, float]):
    rng, (seeds, rows) = np.random.default_rng(20), shape
    seed_noise, row_noise, rest = spread
    covered = 0
    for _ in range(TRIALS):
        d = seed_noise * rng.standard_normal((seeds, 1)) + row_noise * rng.standard_normal((1, rows))
        interval = crossed_interval(d + rest * rng.standard_normal(shape))
        covered += interval.low <= 0 <= interval.high
    assert covered >= FEWEST


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (5,)], ids=str)
def test_too_small_a_table_is_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"crossed_estimate: differences must be at least 2 seeds by 2 rows; got shape"):
        crossed_interval(np.zeros(shape))


def test_one_seed_is_refused():
    with pytest.raises(ValueError, match="seed_interval: values must be two or more numbers"):
        seed_interval(np.zeros(1))
