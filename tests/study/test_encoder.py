"""The encoder: that of a table equals scikit-learn's, and new samples get the inputs that the study gave to its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from processes import environment
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from thinnet.study.data.columns import Column, read_columns
from thinnet.study.data.encoding import Encoder
from thinnet.study.data.inputs import MOST_CATEGORIES, Columns, squash
from thinnet.study.data.preparing import prepare
from thinnet.study.data.reading import open_problem
from thinnet.study.data.sources.pictures import Pictures
from thinnet.study.data.sources.texts import Words
from thinnet.study.data.tables import read_table
from thinnet.study.data.tasks import Regression
from thinnet.study.design.configuration import Configuration
from thinnet.study.design.plan import Plan, StudyError
from thinnet.study.training.network import seeded_network
from thinnet.study.training.weights import load_weights


def fitted(features: pd.DataFrame) -> Encoder:
    used, columns = read_columns(features, {})
    return Encoder.of(Columns.fitted(used, columns), Regression(0.0, 1.0), "y")


def test_encoder_equals_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    many = rng.permutation([f"level {number}" for number in range(60) for _ in range(number + 1)])  # no two as often
    rows = len(many)
    frame = pd.DataFrame(
        {
            "whole": rng.normal(100, 30, size=rows),
            "gaps": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows)),
            "few": rng.choice(["red", "green"], size=rows),
            "gone": pd.Series(rng.choice(["a", "b"], size=rows)).where(rng.random(rows) < 0.8),
            "many": many,
        }
    )
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler(), FunctionTransformer(squash))
    categories = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="(missing)", missing_values=np.nan),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST_CATEGORIES, sparse_output=False),
    )
    text = frame.columns[2:].tolist()
    reference = make_column_transformer((numbers, ["whole", "gaps"]), (categories, text)).fit(frame.astype({"gone": "object"}))
    new = frame.sample(100, random_state=1).assign(few="blue", many="unknown")
    encoder = fitted(frame)
    for each in (frame, new):
        expected = reference.transform(each.astype({"gone": "object"}))
        assert np.allclose(encoder.encode(each), expected, rtol=0, atol=1e-6)


def test_outliers_are_squashed_and_constants_are_not_amplified():
    rows = pd.DataFrame({"x": [0.0] * 99 + [1e9], "same": [5.0] * 100})
    columns = [Column(name, "number", "", 0, 2, True) for name in rows]
    inputs = Columns.fitted(rows, columns).inputs(rows)
    assert np.abs(inputs).max() <= 3
    assert (inputs[:, 1] == 0).all()


MESSY = {
    "price": [f"$ {1000 + 7 * row:,}.50" for row in range(100)],
    "share": [f"{row % 40} %" if row % 9 else "?" for row in range(100)],
    "sold": [f"{1 + row % 28:02}.03.{2000 + row % 20}" for row in range(100)],
    "town": [("Köln", "Bonn", "n/a")[row % 3] for row in range(100)],
    "old": [bool(row % 3) for row in range(100)],
    "zip": [str(50667 + row % 4) for row in range(100)],
}


def written(folder: Path, form: str) -> Path:
    """Return a file of messy rows."""
    frame = pd.DataFrame(MESSY | {"weight": [row / 7 for row in range(100)], "y": [row * 1.5 for row in range(100)]})
    path = folder / f"rows{form}"
    if form == ".parquet":
        frame.to_parquet(path)
    elif form == ".csv":
        frame.to_csv(path, sep=";", decimal=",", index=False)
    else:
        frame.to_csv(path, sep="\t", index=False, encoding="utf-16")
    return path


@pytest.mark.parametrize("form", [".csv", ".tsv.gz", ".parquet"])
def test_a_file_of_new_rows_gets_the_inputs_of_the_study(form: str, tmp_path: Path):
    path = written(tmp_path, form)
    data = prepare(read_table(path, "y", {"zip": "category"}), None, seed=0)
    assert data.encoder is not None
    data.encoder.save(tmp_path / Encoder.FILE)
    encoder = Encoder.load(tmp_path / Encoder.FILE)
    assert encoder == data.encoder
    every = encoder.encode(path)
    for part in (data.development, data.test):
        assert np.array_equal(every[part.ids], part.x)
    table = pd.read_parquet(path) if form == ".parquet" else None
    for row in (0, 1, 50):  # alone, a column of text may look like one of numbers
        one = tmp_path / f"one{form}"
        if table is not None:
            table.iloc[[row]].to_parquet(one)
        else:
            how = {"sep": ";", "encoding": "utf-8"} if form == ".csv" else {"sep": "\t", "encoding": "utf-16"}
            lines = pd.read_csv(path, dtype="str", keep_default_na=False, **how)
            lines.iloc[[row]].drop(columns="y").to_csv(one, index=False, **how)
        assert np.array_equal(encoder.encode(one)[0], every[row])


def test_rows_without_a_column_are_refused_and_unknown_levels_have_zeros():
    encoder = fitted(pd.DataFrame({"a": ["x", "y"] * 10, "b": np.arange(20.0) % 5}))
    assert (encoder.encode(pd.DataFrame({"a": ["z"], "b": [2.0], "c": [0]}))[0] == [0, 0, 0]).all()
    with pytest.raises(StudyError, match="none named 'b'"):
        encoder.encode(pd.DataFrame({"a": ["x"]}))


def test_arrays_keep_their_scale_and_outputs_become_predictions(tmp_path: Path):
    x = np.random.default_rng(0).integers(0, 200, size=(100, 4, 4))
    np.savez(tmp_path / "images.npz", X=x, y=np.arange(100) % 2)
    data = prepare(read_table(tmp_path / "images.npz", None), None, seed=0)
    assert data.encoder is not None
    assert np.array_equal(data.encoder.encode(x)[data.test.ids], data.test.x)
    shares = data.encoder.decode([[0.0, 0.0], [0.0, 100.0]])
    assert shares.columns.tolist() == ["0", "1"] and shares.round(6).to_numpy().tolist() == [[0.5, 0.5], [0.0, 1.0]]


SCRIPT = """
import json, numpy, pathlib
exec(compile(json.loads(pathlib.Path("result.json").read_text())["recommended"]["code"], "pasted.py", "exec"))
print(json.dumps(predict("../new.csv").to_numpy().tolist()))
"""


@pytest.mark.parametrize("target", ["label", "amount"])
def test_pasted_code_predicts_new_rows_in_another_process(target: str, study: Callable, csv: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert study(csv, "--target", target, "--out", out).code == 0
    rows = pd.read_csv(csv)
    rows.iloc[:50].drop(columns=target).to_csv(tmp_path / "new.csv", index=False)
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=out, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    chosen = json.loads((out / "result.json").read_text())["recommended"]
    data, plan = prepare(read_table(csv, target), None, seed=0), Plan(hidden=(16,))
    network = seeded_network(data, plan, Configuration(**chosen["configuration"]), seed=0).eval()
    network.load_state_dict(load_weights(out / chosen["weights"])["best"])
    with torch.no_grad():
        outputs = network(torch.from_numpy(data.test.x[data.test.ids < 50]))
    assert data.encoder is not None
    expected = data.encoder.decode(outputs).to_numpy()
    assert np.allclose(np.array(json.loads(done.stdout))[data.test.ids[data.test.ids < 50]], expected, rtol=1e-5)


SAMPLES = """
import json, numpy, pathlib
exec(compile(json.loads(pathlib.Path("result.json").read_text())["recommended"]["code"], "pasted.py", "exec"))
print(json.dumps([predict(each).to_numpy().tolist() for each in ({})]))
"""


def shapes(folder: Path, colour: bool = False) -> list[Path]:
    """Write pictures of two classes, of two sizes."""
    rng, found = np.random.default_rng(0), []
    for index in range(60):
        path = folder / ("dark", "light")[index % 2] / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 128, (40 + index % 3, 50, 3), dtype=np.uint8) + 100 * (index % 2)
        Image.fromarray(pixels if colour else pixels[..., 0]).save(path)
        found.append(path)
    return found


def remarks(folder: Path) -> list[Path]:
    """Write texts of two classes."""
    found = []
    for index in range(60):
        path = folder / ("bad", "good")[index % 2] / f"{index:02}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"A {('poor', 'fine')[index % 2]} film, number {index}.")
        found.append(path)
    return found


@pytest.mark.parametrize("kind", ["grey", "colour", "texts"])
def test_pasted_code_predicts_new_pictures_and_texts_in_another_process(kind: str, study: Callable, tmp_path: Path):
    data, out = tmp_path / "data", tmp_path / "out"
    paths = remarks(data) if kind == "texts" else shapes(data, kind == "colour")
    assert study(data, "--out", out, "--rates", "0.3", "--seeds", "1").code == 0
    opened = open_problem(data).dataset(0)
    assert opened.encoder is not None and opened.encoder.classes == tuple(sorted({path.parent.name for path in paths}))
    every = opened.encoder.encode(paths)
    ordered = sorted(paths)  # as the study found them
    assert np.array_equal(opened.encoder.encode(ordered)[opened.test.ids], opened.test.x)
    assert Encoder.load(out / "weights" / Encoder.FILE) == opened.encoder

    np.save(out / "new.npy", every[:7])
    files = f"[pathlib.Path(path) for path in {[str(path) for path in paths[:7]]}]"
    other = f"[path.read_text() for path in {files}]" if kind == "texts" else 'numpy.load("new.npy")'
    command = [sys.executable, "-c", SAMPLES.format(f"{files}, {other}")]
    done = subprocess.run(command, cwd=out, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert np.allclose(first, second, rtol=1e-5)

    chosen = json.loads((out / "result.json").read_text())["recommended"]
    network = seeded_network(opened, Plan(), Configuration(**chosen["configuration"]), seed=0).eval()
    network.load_state_dict(load_weights(out / chosen["weights"])["best"])
    with torch.no_grad():
        expected = network(torch.from_numpy(every[:7])).softmax(1).numpy()
    assert np.allclose(first, expected, rtol=1e-5)


def test_pictures_that_a_study_could_not_take_are_refused(tmp_path: Path):
    encoder = Pictures(1, 8, 6)
    grey = np.arange(96, dtype=np.uint8).reshape(2, 8, 6)
    assert all(np.array_equal(encoder.encode(each), grey[:, None]) for each in (grey, grey[:, None], grey[..., None]))
    for wrong in (grey / 255, grey[:, :-1], np.zeros((2, 3, 8, 6), np.uint8)):
        with pytest.raises(StudyError, match=r"must hold bytes of shape \(N, 1, 8, 6\); got"):
            encoder.encode(wrong)
    (tmp_path / "note.png").write_text("no picture")
    with pytest.raises(StudyError, match=r"every picture must be readable; got .*note.png' \(no picture\)"):
        encoder.encode([tmp_path / "note.png"])
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(StudyError, match=r"every file must hold text; got .*empty.txt' \(empty\)"):
        Words().encode(tmp_path / "empty.txt")
