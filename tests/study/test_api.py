"""`thinnet.study.run`: the result of the command, as an object."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import thinnet.study
from thinnet.study.design.plan import StudyError

TINY = {"rates": [0.3, 0.6], "seeds": 3, "epochs": 3, "hidden": [16], "quiet": True}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, mixed: pd.DataFrame) -> thinnet.study.Study:
    return thinnet.study.run(mixed, target="label", out=tmp_path_factory.mktemp("out"), **TINY)


def test_result_is_that_of_the_command(made: thinnet.study.Study, csv: Path, study: Callable, tmp_path: Path):
    ours, theirs = made.document, study(csv, "--target", "label", "--json", "--out", tmp_path / "out").result()
    assert ours["test"] == theirs["test"]
    assert ours["verdict"] == theirs["verdict"]
    assert ours["configurations"] == theirs["configurations"]
    assert json.loads((made.folder / "result.json").read_text()) == ours
    assert made.report.is_file()


def test_result_resumes(made: thinnet.study.Study, mixed: pd.DataFrame):
    again = thinnet.study.run(mixed, target="label", out=made.folder, **TINY)
    assert again.document["seconds"] == made.document["seconds"]


def test_notebook_shows_the_answer_the_table_and_two_figures(made: thinnet.study.Study):
    page = made._repr_html_()
    assert made.verdict.headline in page
    assert "<table" in page
    assert page.count("plotly-graph-div") == len(made.figures()) == 2
    assert "cdn" not in page.split("<script")[0]
    assert made.verdict.headline in repr(made)


def test_mistake_is_the_sentence_of_the_command(mixed: pd.DataFrame):
    with pytest.raises(StudyError, match=r"--target: .* Did you mean 'label'\?"):
        thinnet.study.run(mixed, target="lable")
    with pytest.raises(StudyError, match="every rate must be"):
        thinnet.study.run("digits", rates=[2])


def test_import_does_not_wait_for_pytorch():
    code = "import sys, thinnet.study.request; print([name for name in ('torch', 'pandas', 'sklearn') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
