"""Bad input: one sentence with the next step on stderr, exit code 2, and nothing written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROWS = 60
GOOD = {"x": np.linspace(0, 1, ROWS), "y": ["a", "b"] * (ROWS // 2)}


def table(path: Path, **columns: object) -> Path:
    pd.DataFrame(GOOD | columns).to_csv(path / "t.csv", index=False)
    return path / "t.csv"


def text(path: Path, content: str | bytes, name: str = "t.csv") -> Path:
    file = path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def inside(path: Path, name: str) -> Path:
    file = path / "data" / name
    file.parent.mkdir(parents=True)
    file.write_text("x")
    return path / "data"


def arrays(path: Path, **parts: np.ndarray) -> Path:
    np.savez(path / "t.npz", **parts)
    return path / "t.npz"


CASES: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "missing file": (lambda p: [p / "no.csv"], "FILE must be a file that exists"),
    "empty folder": (lambda p: [(p / "d.csv").mkdir() or p / "d.csv"], "a folder must hold one folder of pictures"),
    "problem mistyped": (lambda p: ["digit"], "Did you mean 'digits'?"),
    "archive": (lambda p: [text(p, "x", "cifar-10-python.tar.gz")], "Unpack it, then name the folder."),
    "address of a file": (lambda p: ["https://example.org/my.py"], "Download it first, then name the file."),
    "target of a text": (lambda p: ["lstm", "--target", "y"], "--target: the option must come with a table; got lstm"),
    "short text": (lambda p: [text(p, "To be, or not to be.", "t.txt")], "a text must have at least 3,201 bytes; got 20"),
    "weights of a table": (lambda p: [table(p), "--target", "y", "--weights", p], "with a folder of texts by class, or with"),
    "weights that are no folder": (lambda p: ["finetune", "--weights", p / "no"], "must be a folder on this machine"),
    "folder without weights": (lambda p: ["finetune", "--weights", p], "must hold config.json and weights of a transformer"),
    "weights of pictures": (lambda p: [inside(p, "cat/1.png"), "--weights", p], "with a folder of texts by class, or with"),
    "classes of other files": (lambda p: [inside(p, "c/a.c")], "Convert 'c/a.c' and the others to .txt or to pictures."),
    "unknown format": (lambda p: [text(p, "x", "t.xlsx")], "FILE must end in"),
    "empty file": (lambda p: [text(p, ""), "--target", "y"], "FILE must hold a header and rows"),
    "header alone": (lambda p: [text(p, "x,y\n"), "--target", "y"], "FILE must hold rows and a feature"),
    "target alone": (lambda p: [text(p, "y\n" + "1\n" * ROWS), "--target", "y"], "FILE must hold rows and a feature"),
    "not text": (lambda p: [text(p, b"PK\x00\x80"), "--target", "y"], "FILE must be a readable .csv file"),
    "no gzip": (lambda p: [text(p, "x,y", "t.csv.gz"), "--target", "y"], "FILE must be a readable .csv file"),
    "workbook": (lambda p: [text(p, "x", "t.xlsx")], "Save the sheet as CSV."),
    "address": (lambda p: ["https://example.org/t.csv"], "Download it first, then name the file."),
    "target mistyped": (lambda p: [table(p, outcome="a"), "--target", "Outcome"], "Did you mean 'outcome'?"),
    "file mistyped": (lambda p: [table(p).with_name("tt.csv")], "Did you mean"),
    "column mistyped": (lambda p: [table(p, size=1), "--target", "y", "--column", "sise=skip"], "Did you mean 'size'?"),
    "kind of column": (lambda p: [table(p), "--target", "y", "--column", "x=text"], "must be NAME=KIND"),
    "column is no date": (lambda p: [table(p), "--target", "y", "--column", "x=date"], "must hold dates to be read as date"),
    "no column left": (
        lambda p: [table(p), "--target", "y", "--column", "x=skip"],
        "must hold a usable feature",
    ),
    "column without table": (lambda p: ["--column", "x=skip"], "the option must come with a table"),
    "broken parquet": (
        lambda p: [text(p, "PAR1", "t.parquet"), "--target", "y"],
        "FILE must be a readable .parquet file",
    ),
    "broken npz": (lambda p: [text(p, "nothing", "t.npz")], "FILE must be a readable .npz file"),
    "pickled npz": (
        lambda p: [arrays(p, X=np.array([{}] * ROWS), y=np.arange(ROWS))],
        "FILE must be a readable .npz file",
    ),
    "npz without y": (lambda p: [arrays(p, X=np.zeros((ROWS, 2)))], "the targets must be an array of the file"),
    "npz of two lengths": (lambda p: [arrays(p, X=np.zeros((ROWS, 2)), y=np.zeros(9))], "must be of shapes"),
    "no target": (lambda p: [table(p)], "--target: a column must be named"),
    "target not there": (lambda p: [table(p), "--target", "z"], "Choose one of x, y."),
    "target without file": (lambda p: ["--target", "y"], "the option must come with a FILE"),
    "one class": (lambda p: [table(p, y="a"), "--target", "y"], "must hold at least two classes; got only 'a'"),
    "rare class": (
        lambda p: [table(p, y=["c"] + ["a"] * (ROWS - 1)), "--target", "y"],
        "must have at least 5 rows; got 1",
    ),
    "rare classes": (
        lambda p: [table(p, y=["c", "d"] + ["a"] * (ROWS - 2)), "--target", "y"],
        "got 1 of 'c', 1 of 'd'. Merge or remove them, or choose another column.",
    ),
    "number with a text": (
        lambda p: [table(p, y=["unknown", *map(str, range(1, ROWS))]), "--target", "y"],
        "If the target is a number, replace or remove 'unknown'.",
    ),
    "target named twice": (lambda p: [text(p, "y,x,y\n" + "1,2,3\n" * ROWS), "--target", "y"], "got 'y', the name of several"),
    "no header": (lambda p: [text(p, "1,2,3\n" * ROWS), "--target", "y"], "The first line holds numbers (1, 2, 3, ...)"),
    "title above the header": (
        lambda p: [text(p, "A report\n\nx,z,y\n" + "1,2,3\n" * ROWS), "--target", "y"],
        "rows must have as many values as the header has names; got 3 under 1",
    ),
    "infinite": (
        lambda p: [table(p, x=[np.inf] + [0.0] * (ROWS - 1)), "--target", "y"],
        "column 'x' must hold finite numbers; got inf",
    ),
    "text for regression": (lambda p: [table(p), "--target", "y", "--task", "regression"], "regression; got 'a'"),
    "constant regression": (lambda p: [table(p, y=1), "--target", "y", "--task", "regression"], "'y' must vary"),
    "too few rows": (lambda p: [text(p, "x,y\n" + "1,a\n2,b\n" * 10), "--target", "y"], "must be at least 50"),
    "target all missing": (lambda p: [table(p, y=np.nan), "--target", "y"], "must be at least 50"),
    "rate of one": (lambda p: ["--rates", "0,1"], "every rate must be in [0, 1); got 1.0"),
    "rate below zero": (lambda p: ["--rates=-0.1"], "every rate must be in [0, 1)"),
    "rate nan": (lambda p: ["--rates", "nan"], "every rate must be in [0, 1); got nan"),
    "rates of letters": (lambda p: ["--rates", "half"], "must be numbers separated by commas; got 'half'"),
    "no rates": (lambda p: ["--rates", ""], "must be numbers separated by commas"),
    "place that is misspelt": (
        lambda p: ["--places", "hiden1"],
        "'hiden1', which matches no dropout site. Did you mean hidden1?",
    ),
    "budget of letters": (lambda p: ["--budget", "soon"], "the time must be a positive duration; got 'soon'"),
    "budget of zero": (lambda p: ["--budget", "0s"], "the time must be a positive duration"),
    "no seeds": (lambda p: ["--seeds", "0"], "--seeds: the number must be at least 1; got 0"),
    "no jobs": (lambda p: ["--jobs", "0"], "--jobs: the number must be at least 1"),
    "no epochs": (lambda p: ["--epochs", "0"], "--epochs: the number must be at least 1"),
    "no width": (lambda p: ["--hidden", "8,0"], "--hidden: the number must be at least 1"),
    "no batch": (lambda p: ["--batch", "0"], "--batch: the number must be at least 1"),
    "seed below zero": (lambda p: ["--seed", "-1"], "--seed: the number must be at least 0"),
    "learning rate nan": (lambda p: ["--learning-rate", "nan"], "--learning-rate: the number must be positive"),
    "unknown method": (lambda p: ["--methods", "dropout,thinning"], "got 'thinning'. Did you mean thin?"),
    "no methods": (lambda p: ["--methods", ""], "--methods: every method must be among dropout, thin"),
    "groups of dropout": (lambda p: ["--groups", "4"], "--groups: the number must be 1 where thin is not trained; got 4"),
    "more groups than rows": (
        lambda p: ["--methods", "thin", "--batch", "2", "--groups", "4"],
        "the batch size, 2; got 4",
    ),
    "no such device": (lambda p: ["--device", "abacus"], "device and precision must exist here"),
    "no such precision": (lambda p: ["--precision", "3-bit"], "device and precision must exist here"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(case: str, tmp_path: Path, study: Callable):
    make, words = CASES[case]
    out = tmp_path / "out"
    outcome = study(*make(tmp_path), "--out", out)
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.out == ""
    assert len(outcome.err.strip().splitlines()) == 1
    assert not out.exists()


def test_unknown_task_and_option_are_refused_by_the_parser(tmp_path: Path, study: Callable):
    assert study("--task", "guessing", "--out", tmp_path / "out").code == 2
    assert study("--keep", "0.5", "--out", tmp_path / "out").code == 2


def test_loss_that_is_not_finite(tmp_path: Path, csv: Path, study: Callable):
    outcome = study(csv, "--target", "amount", "--learning-rate", "1e20", "--epochs", "9", "--out", tmp_path / "o")
    assert outcome.code == 2
    assert "loss must stay finite; got" in outcome.err
    assert "Use a smaller --learning-rate and a new --out." in outcome.err
