"""From a file to three sets: the task is inferred, nothing leaks, and notes describe the preparation."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thinnet.study.data.dataset import Dataset
from thinnet.study.data.preparing import prepare
from thinnet.study.data.tables import read_table
from thinnet.study.data.targets import infer_task


def load(path: Path, target: str | None, task: str | None = None, seed: int = 0) -> Dataset:
    return prepare(read_table(path, target), task, seed)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0, 1, 1], "classification"),
        ([0.0, 1.0, 2.0], "classification"),
        ([True, False], "classification"),
        (["no", "yes"], "classification"),
        ([0.5, 1.0], "regression"),
        (list(range(21)), "regression"),
        (list(range(20)), "classification"),
    ],
    ids=str,
)
def test_task_is_inferred(values: list, task: str):
    assert infer_task(pd.Series(values)) == task


def test_task_can_be_overridden(tmp_path: Path):
    path = tmp_path / "counts.csv"
    pd.DataFrame({"x": range(60), "y": [0, 1, 2] * 20}).to_csv(path, index=False)
    assert load(path, "y").task.name == "classification"
    assert load(path, "y", "regression").task.name == "regression"


def test_digits_are_split_into_three_stratified_sets():
    data = prepare(read_table(None, None), None, seed=0)
    ids = np.concatenate([data.train.ids, data.validation.ids, data.test.ids])
    assert sorted(ids) == list(range(1797))
    shares = [np.bincount(part.y) / len(part) for part in (data.train, data.validation, data.test)]
    assert np.abs(shares[0] - shares[1]).max() < 0.01
    assert np.abs(shares[0] - shares[2]).max() < 0.01


def test_seed_draws_the_split():
    table = read_table(None, None)
    one, other = (prepare(table, None, seed).test.ids.tolist() for seed in (0, 1))
    assert one == prepare(table, None, 0).test.ids.tolist()
    assert one != other


def test_every_kind_of_column_becomes_finite_numbers(csv: Path):
    data = load(csv, "label")
    for part in (data.train, data.validation, data.test):
        assert np.isfinite(part.x).all()
        assert part.x.dtype == np.float32
    assert any("missing values were imputed" in note for note in data.notes)


@pytest.mark.parametrize("suffix", [".parquet", ".tsv", ".csv"])
def test_formats_agree(tmp_path: Path, mixed: pd.DataFrame, suffix: str):
    frame = mixed.drop(columns="seen")
    path = tmp_path / f"table{suffix}"
    write = {
        ".parquet": lambda: frame.to_parquet(path),
        ".tsv": lambda: frame.to_csv(path, sep="\t", index=False),
        ".csv": lambda: frame.to_csv(path, sep=";", index=False),
    }
    write[suffix]()
    plain = tmp_path / "plain.csv"
    frame.to_csv(plain, index=False)
    assert load(path, "amount").fingerprint() == load(plain, "amount").fingerprint()


def test_encoding_is_fitted_on_the_training_set_only(tmp_path: Path, mixed: pd.DataFrame):
    path, changed = tmp_path / "a.csv", tmp_path / "b.csv"
    mixed.to_csv(path, index=False)
    before = load(path, "label")
    frame = mixed.copy()
    frame.loc[before.test.ids, "size"] = 1e6
    frame.loc[before.test.ids, "colour"] = "never seen"
    frame.to_csv(changed, index=False)
    after = load(changed, "label")
    assert np.array_equal(before.train.x, after.train.x)
    assert np.array_equal(before.validation.x, after.validation.x)
    assert np.isfinite(after.test.x).all()


def test_rows_without_a_target_are_left_out_with_a_note(tmp_path: Path, mixed: pd.DataFrame):
    path = tmp_path / "gaps.csv"
    mixed.assign(label=mixed["label"].mask(mixed.index % 10 == 0)).to_csv(path, index=False)
    data = load(path, "label")
    used = np.concatenate([data.train.ids, data.validation.ids, data.test.ids])
    assert not (used % 10 == 0).any()
    assert "12 of 120 rows have no target and were left out." in data.notes


def test_column_that_is_missing_in_the_training_set_alone_is_no_error(tmp_path: Path, mixed: pd.DataFrame):
    path = tmp_path / "late.csv"
    mixed.to_csv(path, index=False)
    test_rows = load(path, "label").test.ids
    late = pd.Series(np.nan, index=mixed.index)
    late[test_rows] = 1.0
    mixed.assign(late=late).to_csv(path, index=False)
    assert np.isfinite(load(path, "label").test.x).all()


def test_regression_target_is_standardised_without_the_test_set(csv: Path):
    data = load(csv, "amount")
    assert data.development.y.mean() == pytest.approx(0, abs=1e-6)
    assert data.development.y.std() == pytest.approx(1, abs=1e-6)
    assert data.test.y.mean() != pytest.approx(0, abs=1e-6)


def test_test_rows_are_fixed_and_the_others_are_divided_anew_by_seed(csv: Path):
    data = load(csv, "label")
    sets = [data.sets(seed) for seed in (0, 1, 1)]
    assert np.array_equal(sets[1][0].ids, sets[2][0].ids)
    assert not np.array_equal(sets[0][0].ids, sets[1][0].ids)
    for train, validation in sets:
        assert sorted([*train.ids, *validation.ids]) == sorted(data.development.ids)
        assert not set(data.test.ids) & {*train.ids, *validation.ids}
        shares = [np.bincount(part.y)[0] / len(part) for part in (train, validation, data.test)]
        assert max(shares) - min(shares) < 0.05


def test_arrays_of_images_share_one_scale(tmp_path: Path):
    path = tmp_path / "images.npz"
    rng = np.random.default_rng(0)
    np.savez(path, X=rng.integers(0, 200, size=(100, 4, 4)), y=rng.integers(0, 2, size=100))
    data = load(path, None)
    assert data.train.x.shape == (60, 16)
    assert data.train.x.max() == 1.0


def test_array_of_targets_can_be_named(tmp_path: Path):
    path = tmp_path / "named.npz"
    rng = np.random.default_rng(0)
    np.savez(path, inputs=rng.normal(size=(100, 3)), price=rng.normal(size=100))
    assert load(path, "price").task.name == "regression"


def test_fingerprint_differs_between_datasets(csv: Path):
    prints = {
        load(csv, "label").fingerprint(),
        load(csv, "amount").fingerprint(),
        load(csv, "label", seed=1).fingerprint(),
    }
    assert len(prints) == 3


def warned(path: Path, **columns: object) -> str:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.normal(size=200), "y": rng.normal(size=200)} | columns)
    frame.to_csv(path / "t.csv", index=False)
    return " ".join(load(path / "t.csv", "y").warnings)


def test_data_that_make_the_answer_useless_are_named_with_a_number(tmp_path: Path):
    assert warned(tmp_path) == ""
    assert "97.0 % of the rows are of class 'a'" in warned(tmp_path, y=["a"] * 194 + ["b"] * 6)
    assert "3 of 200 targets are extreme" in warned(tmp_path, y=np.r_[np.random.default_rng(0).normal(size=197), [1e12] * 3])
    assert "test rows have the same features as another row" in warned(tmp_path, x=np.tile(np.arange(50.0), 4))
    assert "Column 'x' has extreme values, such as 1e+30" in warned(tmp_path, x=np.r_[np.arange(199.0), 1e30])
    assert "Column 'copy' alone determines the target" in warned(tmp_path, y=["a", "b"] * 100, copy=[3, 4] * 100)
    assert "Column 'twice'" in warned(tmp_path, y=np.arange(200) / 7, twice=np.arange(200) * 2.0 + 1)
