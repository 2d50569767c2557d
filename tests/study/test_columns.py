"""Tables as people have them: how each column is read, and what is left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thinnet.study.data.columns import columns_table, read_columns
from thinnet.study.data.files import Contents, unique_names
from thinnet.study.data.tables import from_contents, read_table
from thinnet.study.data.written import text_as_dates, text_as_numbers

ROWS = 60
NUMBERS = np.random.default_rng(0).normal(1000, 300, ROWS).round(2)


def read(values: list, kinds: dict[str, str] | None = None, comma: bool = False):
    used, (column,) = read_columns(pd.DataFrame({"x": values}), kinds or {}, comma)
    return column, used.get("x")


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1,5", "-2,25"], [1.5, -2.25]),
        (["1,234", "12,345"], [1234, 12345]),
        (["1,234.5", "2"], [1234.5, 2]),
        (["1.234,5", "2"], [1234.5, 2]),
        (["$1,234", "($2.50)"], [1234, -2.5]),
        (["1 234,5 €", "7 €"], [1234.5, 7]),
        (["1'234.5", "CHF 7"], [1234.5, 7]),
        (["12%", "1.5 %"], [12, 1.5]),
        (["\N{MINUS SIGN}3", "+4e2"], [-3, 400]),
    ],
    ids=lambda value: str(value[0]),
)
def test_numbers_are_read_as_people_write_them(texts: list[str], numbers: list[float]):
    assert text_as_numbers(pd.Series(texts)).values.tolist() == numbers


@pytest.mark.parametrize("texts", [["1,2,3", "4"], ["1.2.3", "1"], ["12a", "7"], ["", "x"], ["0,123,456", "1,23,4"]], ids=str)
def test_texts_that_are_no_numbers_stay_text(texts: list[str]):
    assert text_as_numbers(pd.Series(texts)) is None


def test_point_separates_thousands_only_in_a_file_with_decimal_commas():
    texts = pd.Series(["1.234", "2.500"])
    assert text_as_numbers(texts).values.tolist() == [1.234, 2.5]
    assert text_as_numbers(texts, comma=True).values.tolist() == [1234, 2500]


@pytest.mark.parametrize(
    ("texts", "day"),
    [
        (["2020-02-01", "2020-02-13"], 1),
        (["01.02.2020", "13.02.2020"], 1),
        (["01/02/2020", "13/02/2020"], 1),
        (["01/02/2020", "02/13/2020"], 2),
        (["2020-02-01T10:00:00Z", None], 1),
    ],
    ids=lambda value: str(value),
)
def test_dates_become_seconds(texts: list[str], day: int):
    values, _ = text_as_dates(pd.Series(texts))
    assert pd.Timestamp(values[0], unit="s").day == day


@pytest.mark.parametrize("texts", [["12:30", "13:40"], ["1.5", "2.5"], ["2020-01-01", "soon"], ["a", "b"]], ids=str)
def test_times_and_words_are_no_dates(texts: list[str]):
    assert text_as_dates(pd.Series(texts)) is None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b"] * 30, "category"),
        ([f"user{number}" for number in range(ROWS)], "id"),
        ([f"a sentence with number {number}" for number in range(ROWS)], "free text"),
        (["same"] * ROWS, "constant"),
        ([None] * ROWS, "empty"),
        ([7.0] * ROWS, "constant"),
        (["?"] * ROWS, "empty"),
        ([True, False] * 30, "number"),
        (list(pd.date_range("2020", periods=ROWS)), "date"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_kind_of_a_column(values: list, kind: str):
    column, used = read(values)
    assert column.kind == kind
    assert column.used == (used is not None) == (kind in ("number", "date", "category"))


def test_count_of_rows_is_an_id_only_by_its_name():
    frame = pd.DataFrame({"patient_id": range(ROWS), "day": range(ROWS)})
    used, columns = read_columns(frame, {})
    assert list(used) == ["day"]
    assert columns[0].kind == "id"


def test_few_texts_among_numbers_count_as_missing():
    column, used = read([*map(str, NUMBERS[:-2]), "broken", "?"])
    assert (column.kind, column.missing) == ("number", 2)
    assert "'broken' counts as missing" in column.how
    assert used.isna().sum() == 2


def test_user_overrides_the_kind():
    assert read([1, 2] * 30, {"x": "category"})[1].tolist()[:2] == ["1", "2"]
    assert read([20200131, 20200201] * 30, {"x": "date"})[1].diff()[1] == 86400
    assert read([1.0, 2.0] * 30, {"x": "skip"})[1] is None
    assert read([*["n.k."] * 10, *map(str, NUMBERS[:50])], {"x": "number"})[0].missing == 10


def written(path: Path, frame: pd.DataFrame, **how) -> pd.DataFrame:
    frame.to_csv(path, index=False, **how)
    return read_table(path, "y").features


def test_ways_to_write_a_file_give_the_same_features(tmp_path: Path):
    frame = pd.DataFrame({"größe": NUMBERS, "b": NUMBERS[::-1] / 7, "c": ["ä", "b"] * 30, "y": [0, 1] * 30})
    plain = written(tmp_path / "plain.csv", frame)
    for name, how in {
        "german.csv": {"sep": ";", "decimal": ","},
        "latin.csv": {"encoding": "latin-1"},
        "wide.csv": {"encoding": "utf-16"},
        "packed.csv.gz": {},
        "packed.tsv.xz": {"sep": "\t"},
        "pipes.txt": {"sep": "|"},
    }.items():
        pd.testing.assert_frame_equal(written(tmp_path / name, frame, **how), plain)
    questions = frame.astype({"b": "object"}).assign(b=lambda each: each["b"].mask(each.index % 7 == 0, "?"))
    features = written(tmp_path / "questions.csv", questions)
    assert features["b"].isna().sum() == 9
    assert features["b"].dropna().equals(plain["b"][features["b"].notna()])


def test_target_of_text_is_a_number_where_every_value_is_one(tmp_path: Path):
    frame = pd.DataFrame({"x": NUMBERS, "y": [f"{value:,.2f} €".replace(",", " ") for value in NUMBERS]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert np.allclose(read_table(tmp_path / "t.csv", "y").target, NUMBERS)
    frame.assign(y=["none", "mild"] * 30).to_csv(tmp_path / "t.csv", index=False)
    assert set(read_table(tmp_path / "t.csv", "y").target.dropna()) <= {"none", "mild"}


def test_columns_that_were_read_alike_share_a_line():
    frame = pd.DataFrame({f"x{number}": NUMBERS for number in range(40)} | {"c": ["a", "b"] * 30})
    table = columns_table(read_columns(frame, {})[1])
    assert [row[0] for row in table.rows] == ["x0 to x39 (40)", "c"]


def test_header_has_names_without_spaces_of_which_no_two_are_equal(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text(" a , b,a, y \n" + "1,2,3,0\n2,3,4,1\n" * 30)
    found = read_table(path, "y")
    assert list(found.features) == ["a", "b", "a.1"]
    assert "repeats 'a'" in found.notes[0]
    assert unique_names(["a", "a", "a.1"]) == (["a", "a.2", "a.1"], ["a"])


def test_columns_of_a_data_frame_with_one_name_are_all_read():
    frame = pd.DataFrame({"x": NUMBERS, "z": -NUMBERS, "y": [0, 1] * 30}).set_axis(["x", "x", "y"], axis=1)
    assert from_contents("t", Contents(frame, False, ()), "y", {}).features["x.1"].tolist() == (-NUMBERS).tolist()


def test_values_stay_under_their_names_where_rows_are_longer_than_the_header(tmp_path: Path):
    path = tmp_path / "t.csv"
    for row in ("{0},2,{1},", "r{0},{0},2,{1}"):  # a delimiter at the end of each line; names of rows as R writes them
        path.write_text("a,b,y\n" + "".join(row.format(number, number % 2) + "\n" for number in range(ROWS)))
        found = read_table(path, "y")
        assert found.features["a"].tolist() == list(range(ROWS))
        assert found.target.tolist() == [0, 1] * (ROWS // 2)
