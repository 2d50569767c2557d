"""A time limit takes epochs and rows away, says so, and decides once for a folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thinnet.study.data.preparing import prepare
from thinnet.study.data.tables import read_table
from thinnet.study.design.plan import Plan, StudyError
from thinnet.study.workers import budget
from thinnet.study.workers.budget import begun_with, fitted, limits_in_words, seconds_per_row, within

SMALL = Plan(rates=(0.5,), hidden=(8,), batch=256)


@pytest.fixture(scope="module")
def data():
    return prepare(read_table(None, None), None, seed=0)


@pytest.mark.parametrize("allowed", [1e3, 1e4, 1e5, 1e6, 1e7, 1e8])
@pytest.mark.parametrize("rows", [300, 4000, 80_000])
def test_what_is_left_fits_or_is_the_least(rows: int, allowed: float):
    plan = fitted(Plan(), rows, allowed)
    kept = plan.rows or rows
    least = plan.epochs == budget.FEWEST_EPOCHS and kept == min(rows, budget.FEWEST_ROWS)
    assert plan.epochs * kept <= allowed or least
    assert plan.epochs >= budget.FEWEST_EPOCHS
    assert (plan == Plan()) is (allowed >= Plan().epochs * rows)
    if rows < budget.FEW_ROWS and plan.rows is not None:
        assert plan.epochs == budget.FEWEST_EPOCHS  # few rows are kept as long as epochs can shrink


def test_fewer_rows_leave_the_test_set_and_the_shares(data):
    some = data.limited(400)
    assert len(some.development) == 400
    assert some.validation_rows / 400 == pytest.approx(data.validation_rows / len(data.development), abs=0.05)
    assert np.isin(some.development.ids, data.development.ids).all()
    assert some.test is data.test
    assert data.limited(None) is data.limited(10_000) is data
    given = replace(data, split_seed=None).limited(400)  # the last rows stay those for validation
    assert np.isin(given.validation.ids, data.development.ids[-data.validation_rows :]).all()
    assert not np.isin(given.train.ids, data.development.ids[-data.validation_rows :]).any()


def test_time_is_positive_and_a_wide_limit_takes_nothing(data, tmp_path: Path):
    assert seconds_per_row(data, SMALL) > 0
    assert within(1e9, data, SMALL, 3, 1, tmp_path) == SMALL
    short = within(1e-9, data, SMALL, 3, 2, tmp_path)
    assert (short.epochs, short.rows) == (budget.FEWEST_EPOCHS, budget.FEWEST_ROWS)
    words = limits_in_words(short, SMALL, data)
    assert "10 of 100 epochs and 1,000 of 1,437 rows" in words
    assert limits_in_words(SMALL, SMALL, data) == ""


def test_rows_that_are_asked_for_are_no_limit_and_a_budget_only_lowers_them(data, tmp_path: Path):
    asked = replace(SMALL, rows=1200)
    assert within(1e9, data, asked, 3, 1, tmp_path) == asked
    assert limits_in_words(asked, asked, data) == ""
    short = within(1e-9, data, asked, 3, 2, tmp_path)
    assert short.rows == budget.FEWEST_ROWS
    assert "1,000 of 1,200 rows" in limits_in_words(short, asked, data)
    few = replace(SMALL, rows=200)
    assert within(1e-9, data, few, 3, 2, tmp_path).rows == 200


def test_limit_is_decided_once_for_a_folder(study: Callable, tmp_path: Path):
    first = study("--budget", "0.01s", "--epochs", 30, "--json", "--out", tmp_path / "out").result()
    assert first["plan"]["epochs"] == 10
    assert first["plan"]["rows"] == 1000
    assert first["data"]["rows"]["train"] + first["data"]["rows"]["validation"] == 1000
    assert any("10 of 30 epochs" in warning for warning in first["data"]["warnings"])
    assert begun_with(tmp_path / "out") == (10, 1000)
    again = study("--budget", "1h", "--epochs", 30, "--json", "--out", tmp_path / "out").result()
    assert again["plan"] == first["plan"]
    assert again["seeds"] == 3
    assert study("--epochs", 30, "--out", tmp_path / "out").code == 2


def test_fewest_rows(study: Callable, tmp_path: Path):
    with pytest.raises(StudyError, match="--rows: the number must be at least 50; got 9"):
        Plan(rows=9)
    assert study("--rows", 200, "--json", "--out", tmp_path).result()["plan"]["rows"] == 200
