"""The command from end to end: interrupted and parallel runs give the same numbers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from processes import answer_ctrl_c
from rich.console import Console

from thinnet.study.data.preparing import prepare
from thinnet.study.data.tables import read_table
from thinnet.study.design.configuration import DROPOUT, Configuration, TrialKey
from thinnet.study.design.plan import Plan
from thinnet.study.study import conduct
from thinnet.study.training.network import seeded_network
from thinnet.study.training.perceptron import perceptron
from thinnet.study.training.trial import CURVES, run_trial, train
from thinnet.study.training.weights import load_weights
from thinnet.study.workers.launch import Processes
from thinnet.study.workers.runner import run
from thinnet.study.workers.store import Store

LONG = ("--rates", "0.5", "--seeds", "6", "--epochs", "40", "--hidden", "32")
"""Twelve trials of about half a second: long enough to be stopped in the middle."""
PATIENCE = 240.0


def start(*arguments: object) -> subprocess.Popen:
    """Start the command in its own process group and with Ctrl-C at work, as a terminal does."""
    command = [sys.executable, "-m", "thinnet", "study", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True, preexec_fn=answer_ctrl_c)


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds; fail if it takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def weights(out: Path) -> list[Path]:
    return sorted((out / "weights").glob("*.pt"))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def running(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def undisturbed(study: Callable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of an uninterrupted long study, one trial at a time."""
    outcome = study(*LONG, "--json", "--out", tmp_path_factory.mktemp("long") / "out")
    assert outcome.code == 0
    return outcome.result()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for orphans in /proc")
def test_a_killed_run_resumes_with_the_same_numbers(study: Callable, undisturbed: dict, tmp_path: Path):
    out = tmp_path / "out"
    process = start(*LONG, "--jobs", 2, "--out", out)
    wait_for(lambda: len(weights(out)) >= 3)
    workers = children(process.pid)
    assert len(workers) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(running(worker) for worker in workers))
    assert 3 <= len(weights(out)) < 12
    again = study(*LONG, "--json", "--out", out)
    assert "already finished" in again.err
    assert again.result() == undisturbed


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_names_the_way_to_resume_and_two_jobs_give_the_same_numbers(study: Callable, undisturbed: dict, tmp_path: Path):
    out = tmp_path / "out"
    process = start(*LONG, "--jobs", 2, "--out", out)
    wait_for(lambda: len(weights(out)) >= 3)
    os.killpg(process.pid, signal.SIGINT)
    shown, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "The same command resumes from there." in said
    assert "Traceback" not in said
    assert shown == ""
    again = study(*LONG, "--jobs", 2, "--json", "--out", out)
    assert again.code == 0
    assert again.result() == undisturbed


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_c_while_workers_start_prints_no_traceback(tmp_path: Path):
    process = start(*LONG, "--jobs", 2, "--out", tmp_path / "out")
    wait_for(lambda: len(children(process.pid)) >= 3)
    time.sleep(1)  # by now they import, where Ctrl-C would make them print a traceback each
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in said


def test_twice_the_same_command_gives_the_same_numbers(study: Callable, csv: Path, tmp_path: Path):
    command = (csv, "--target", "label", "--json", "--out")
    assert study(*command, tmp_path / "a").result() == study(*command, tmp_path / "b").result()


def test_run_again_trains_nothing(study: Callable, csv: Path, tmp_path: Path):
    command = (csv, "--target", "label", "--json", "--out", tmp_path / "out")
    first = study(*command)
    stamps = [path.stat().st_mtime_ns for path in weights(tmp_path / "out")]
    second = study(*command)
    assert [path.stat().st_mtime_ns for path in weights(tmp_path / "out")] == stamps
    assert first.out == second.out


def test_damaged_weights_do_not_count(study: Callable, csv: Path, tmp_path: Path):
    command = (csv, "--target", "label", "--json", "--out", tmp_path / "out")
    first = study(*command)
    lost, half, *whole = weights(tmp_path / "out")
    lost.unlink()
    half.write_bytes(half.read_bytes()[:1000])
    stamps = [path.stat().st_mtime_ns for path in whole]
    assert study(*command).result() == first.result()
    assert set(load_weights(half)) == {"best", "last"}
    assert [path.stat().st_mtime_ns for path in whole] == stamps


def test_the_budget_counts_from_before_the_data_were_read(request_of: Callable, csv: Path, tmp_path: Path):
    """An hour of reading leaves nothing of half an hour: one whole round, and no more."""
    plan = Plan(rates=(0.3,), epochs=2, hidden=(8,))
    asked = replace(request_of(csv, "label", plan, tmp_path / "out"), budget=1800.0)
    assert (
        conduct(replace(asked, started=time.monotonic() - 3600, out=tmp_path / "late"), Console(quiet=True)).results.seeds == 1
    )
    assert conduct(asked, Console(quiet=True)).results.seeds == 3


def test_budget_stops_after_a_whole_round_and_a_later_run_resumes(study: Callable, csv: Path, tmp_path: Path):
    command = (csv, "--target", "label", "--json", "--out")
    short = study(*command, tmp_path / "a", "--budget", "0.001s")
    assert short.code == 0
    assert "The budget is spent after 1 of 3 seeds." in short.err
    assert short.result()["seeds"] == 1
    assert len(weights(tmp_path / "a")) == 3
    assert short.result()["verdict"]["reason"] == "few"
    rest, whole = study(*command, tmp_path / "a").result(), study(*command, tmp_path / "b").result()
    assert [look["seeds"] for look in rest.pop("test_looks")] == [1, 3]
    assert [look["seeds"] for look in whole.pop("test_looks")] == [3]
    assert rest == whole


def test_more_seeds_continue_in_the_same_folder(study: Callable, csv: Path, tmp_path: Path):
    command = (csv, "--target", "amount", "--json", "--out", tmp_path / "out")
    three = study(*command)
    stamps = [path.stat().st_mtime_ns for path in weights(tmp_path / "out")]
    four = study(*command, "--seeds", 4)
    assert four.result()["seeds"] == 4
    assert set(stamps) <= {path.stat().st_mtime_ns for path in weights(tmp_path / "out")}
    assert study(*command).result()["configurations"] == three.result()["configurations"]


@pytest.mark.parametrize("change", [("--epochs", 4), ("--rates", "0.3"), ("--seed", 1), ("--target", "amount")], ids=str)
def test_folder_of_another_study_is_refused(study: Callable, csv: Path, tmp_path: Path, change: tuple):
    out = tmp_path / "out"
    command = (csv, "--target", "label", "--out", out)
    assert study(*command).code == 0
    before = {path: path.read_bytes()[100 * (path.suffix == ".db") :] for path in out.rglob("*") if path.is_file()}
    outcome = study(*command, *change)
    assert outcome.code == 2
    assert "--out: the folder must be new or hold this same study" in outcome.err
    assert before == {path: path.read_bytes()[100 * (path.suffix == ".db") :] for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["notes.txt", "index.html", "study.db"])
def test_folder_of_other_things_is_refused(study: Callable, csv: Path, tmp_path: Path, name: str):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    outcome = study(csv, "--target", "label", "--out", out)
    assert outcome.code == 2
    assert "--out:" in outcome.err
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(name, "mine")]


def test_file_in_place_of_the_folder_is_refused(study: Callable, csv: Path):
    outcome = study(csv, "--target", "label", "--out", csv)
    assert outcome.code == 2
    assert "the path must be that of a folder" in outcome.err


def test_leftovers_of_an_interrupted_start_are_ignored(study: Callable, csv: Path, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "study.db.partial").write_bytes(b"half a database")
    assert study(csv, "--target", "label", "--out", out).code == 0


def test_folder_where_a_study_is_running_is_refused(study: Callable, tmp_path: Path):
    held = Store(tmp_path / "out", {"data": "other"})
    outcome = study("--out", tmp_path / "out")
    held.close()
    assert outcome.code == 2
    assert "where a study is running" in outcome.err


def test_rates_of_one_seed_are_paired():
    data, plan = prepare(read_table(None, None), None, 0), Plan(rates=(0.5,), epochs=1, hidden=(16,), batch=2000)
    none, half, again = (train(data, plan, TrialKey(Configuration(DROPOUT, rate), 0))[0] for rate in (0.0, 0.5, 0.5))
    other = train(data, plan, TrialKey(Configuration(DROPOUT, 0.5), 1))[0]
    assert half.curves == again.curves
    assert half.curves != other.curves
    assert half.curves != none.curves


def test_rates_of_one_seed_start_from_the_same_weights():
    data, plan = prepare(read_table(None, None), None, 0), Plan(hidden=(16,))
    one, other = (seeded_network(data, plan, Configuration(DROPOUT, rate), seed=5).state_dict() for rate in (0.0, 0.5))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_training_does_not_change_torch_generator_and_threads(tmp_path: Path):
    data, plan = prepare(read_table(None, None), None, 0), Plan(rates=(0.5,), epochs=1, hidden=(16,), batch=2000)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    run_trial(data, plan, tmp_path, TrialKey(Configuration(DROPOUT, 0.5), 0))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_curves_are_measured_in_eval_mode_with_the_weights_that_are_saved():
    data, plan = prepare(read_table(None, None), None, 0), Plan(rates=(0.8,), epochs=4, hidden=(16,))
    trial, states = train(data, plan, TrialKey(Configuration(DROPOUT, 0.8), 0))
    for view, part in (("best", data.validation), ("last", data.train)):
        network = perceptron(64, (16,), 10, rate=0.0)
        network.load_state_dict(states[view])
        loss = F.cross_entropy(network(torch.from_numpy(part.x)), torch.from_numpy(part.y)).item()
        name = "validation_loss" if part is data.validation else "train_loss"
        assert trial.at(view)[name] == pytest.approx(loss, rel=1e-5)
    assert set(trial.curves) == set(CURVES)
    assert all(len(curve) == 4 for curve in trial.curves.values())
    assert trial.curves["validation_loss"][trial.best] == min(trial.curves["validation_loss"])


@pytest.mark.parametrize("number", [1, 2])
def test_every_epoch_of_a_running_trial_is_reported(number: int, tmp_path: Path):
    data = prepare(read_table(None, None), None, seed=0)
    plan = Plan(rates=(0.5,), epochs=4, hidden=(8,), batch=256)
    store, seen = Store(tmp_path, {"data": "digits", "places": ["all"]}, None), []

    def watch(running: Mapping[TrialKey, int]) -> None:
        seen.append(dict(running))

    workers = Processes(number, store, data, plan) if number > 1 else None
    with (
        closing(store),
        closing(run(data, plan, store, 2, workers, None, watch)) as trials,
    ):
        keys = {trial.key for trial in trials}
    reported = {pair for running in seen for pair in running.items()}
    every = {(key, epoch) for key in keys for epoch in range(plan.epochs)}
    assert reported <= every and len(keys) == 4
    if number == 1:
        assert reported == every
        assert all(len(running) == 1 for running in seen)
