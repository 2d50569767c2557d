"""The files of a study: every trial by epoch, the summary, event files, and a store that optuna-dashboard opens."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pandas as pd
import pytest

LINES = ("--methods", "dropout,thin", "--against", "width", "--rates", "0.6")


@pytest.fixture(scope="module")
def folder(study: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of wines with two methods and a rival."""
    out = tmp_path_factory.mktemp("outputs") / "out"
    assert study("wine", *LINES, "--out", out).code == 0
    return out


@pytest.fixture(scope="module")
def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_table_of_trials_holds_the_numbers_of_the_result(folder: Path, result: dict):
    rows = pd.read_parquet(folder / "results.parquet")
    trials = rows.groupby(["method", "rate", "place", "schedule", "seed"])
    assert (trials.epoch.max() == result["plan"]["epochs"]).all()
    assert (trials.best.sum() == 1).all()
    assert (rows[rows.best].validation_loss.to_numpy() == trials.validation_loss.min().to_numpy()).all()
    for each in result["configurations"]:
        own = rows[(rows.method == each["method"]) & (rows.rate == each["rate"]) & rows.best]
        assert len(own) == each["seeds"]
        assert own.validation_loss.mean() == pytest.approx(each["best"]["validation_loss"])
        assert own.epoch.median() == each["epochs_to_best"]


def test_summary_has_the_answer_and_every_configuration(folder: Path, result: dict):
    text = (folder / "summary.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert text.startswith(f"### {result['verdict']['headline']}\n")
    assert len(rows) == 2 + len(result["configurations"])
    assert len({row.count("|") for row in rows}) == 1
    assert sum(row.startswith("| **") for row in rows) == 1
    assert result["data"]["fingerprint"][:16] in text


def test_optuna_dashboard_opens_the_store(folder: Path, result: dict):
    dashboard = pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard")
    silent = type("Silent", (WSGIRequestHandler,), {"log_message": lambda *arguments: None})
    with make_server("127.0.0.1", 0, dashboard.wsgi(f"sqlite:///{folder / 'study.db'}"), handler_class=silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/api/studies"
        (found,) = json.load(urlopen(address))["study_summaries"]
        trials = json.load(urlopen(f"{address}/{found['study_id']}?after=0"))["trials"]
        server.shutdown()
    assert len(trials) == sum(each["seeds"] for each in result["configurations"])
    assert {trial["state"] for trial in trials} == {"Complete"}
    assert {param["name"] for param in trials[0]["params"]} == {"method", "rate", "place", "schedule", "seed"}


def test_event_files_hold_every_curve(folder: Path, study: Callable, tmp_path: Path):
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert study("wine", *LINES, "--log", "tensorboard", "--out", folder).code == 0
    rows = pd.read_parquet(folder / "results.parquet")
    runs = sorted((folder / "tensorboard").iterdir())
    assert {run.name for run in runs} == {path.stem for path in (folder / "weights").glob("*.pt")}
    own = rows[(rows.method == "thin") & (rows.seed == 1)]
    events = EventAccumulator(str(folder / "tensorboard" / "thin-0.6-seed-1")).Reload()
    for quantity in ("loss", "error"):
        for part in ("train", "validation"):
            values = [event.value for event in events.Scalars(f"{quantity}/{part}")]
            assert values == pytest.approx(own[f"{part}_{quantity}"].tolist(), rel=1e-6)


def test_missing_tensorboard_is_one_sentence(study: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import sys

    from thinnet.report.extras import MissingLibrary

    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingLibrary, match=r"^--log tensorboard: tensorboard must be installed; it is not\."):
        study("wine", "--log", "tensorboard", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
