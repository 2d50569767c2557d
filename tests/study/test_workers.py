"""Workers on a shared database: nothing is lost, nothing is counted twice, and the numbers are those of one process."""

import itertools
import json
import math
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sql
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from postgres import BINARIES, Proxy, postgres
from processes import Forked, environment, run_thinnet
from rich.console import Console
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from benchmarks.measure import RESULTS
from benchmarks.workers_model import STATED, predicted, simulated
from thinnet.cli import app
from thinnet.report.formatting import counted
from thinnet.study.design.configuration import BASELINE, Configuration, TrialKey
from thinnet.study.design.plan import StudyError
from thinnet.study.training.trial import Trial
from thinnet.study.workers import sqlite
from thinnet.study.workers.database import studies_in
from thinnet.study.workers.elsewhere import slurm_script
from thinnet.study.workers.launch import Processes
from thinnet.study.workers.problem import problem_of
from thinnet.study.workers.queue import GRACE, MOST_DEATHS, SHARE, Storage, batch_size
from thinnet.study.workers.serve import open_studies, serve, statuses
from thinnet.study.workers.sqlite import on_local_disk
from thinnet.study.workers.store import DATABASE, Store
from thinnet.study.workers.work import Worker

QUICK = ("wine", "--rates", "0.2,0.5", "--seeds", "4", "--epochs", "20", "--hidden", "16")
PATIENCE = 120.0
LOCAL = {"data": "digest", "places": ["all"]}
needs_postgres = pytest.mark.skipif(not BINARIES, reason="no PostgreSQL server is installed")


def command(*arguments: object, constants: dict[str, dict[str, float]] | None = None) -> Forked:
    return Forked(run_thinnet, constants or {}, "study", *map(str, arguments))


def ended(process: "Forked | subprocess.Popen[str]", code: int = 0) -> str:
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, errors
    return out


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def numbers(text: str) -> dict:
    return {name: value for name, value in json.loads(text).items() if name not in ("seconds", "test_looks")}


def state(url: str) -> dict:
    return statuses(url)[0]


def reached(url: str, **least: int) -> bool:
    """Whether a study of a database has at least so many trials of each kind."""
    return any(all(found[name] >= number for name, number in least.items()) for found in statuses(url))


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with postgres() as port:
        yield port


@pytest.fixture(scope="module")
def alone(study: Callable, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The result of one process, with SQLite."""
    return numbers(study(*QUICK, "--json", "--jobs", "1", "--out", tmp_path_factory.mktemp("alone") / "out").out)


IMPATIENT: dict[str, dict[str, float]] = {
    f"thinnet.study.workers.{module}": values
    for module, values in {
        "queue": {"MOST_DEATHS": 3, "SHARE": 1e9},  # one trial in a batch: none of these may hold all that wait
        "store": {"MOST_DEATHS": 3},
        "runner": {"EXPIRE": 0.5},
        "work": {"EXPIRE": 0.5},
        "records": {"PAUSE": 0.1, "TRIES": 1200},
    }.items()
}
"""Workers that look for the trials of dead ones twice a second. How long a worker may be silent stays as it is: on a machine
that is busy, a live one would lose its trial."""

WAITS = """
import os
import pathlib
import time

import torch
from torch import nn

class Waits(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    def forward(self, x):
        if self.training and self.layers[1].p == 0.6 and len(x) > 1:
            while pathlib.Path({held!r}).exists():
                pathlib.Path({held!r}, str(os.getpid())).touch()
                time.sleep(0.05)
        return self.layers(x)

def model(): return Waits()
def data():
    x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()
"""


def silence(url: str, rate: float = 0.6) -> None:
    """Let the last sign of life of the trials that run with a rate be long ago."""
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        running = (
            "SELECT trials.trial_id FROM trials JOIN trial_params ON trials.trial_id = trial_params.trial_id "
            f"WHERE state = 'RUNNING' AND param_name = 'rate' AND param_value = {rate}"
        )
        for (trial,) in connection.exec_driver_sql(running).all():
            connection.exec_driver_sql(f"DELETE FROM trial_heartbeats WHERE trial_id = {trial}")
            connection.exec_driver_sql(
                f"INSERT INTO trial_heartbeats (trial_id, heartbeat) VALUES ({trial}, '2000-01-01 00:00:00')"
            )
    engine.dispose()


@needs_postgres
def test_workers_that_die_lose_the_network_or_have_a_wrong_clock(server: int, study: Callable, tmp_path: Path):
    url, proxy = f"postgresql://postgres@127.0.0.1:{server}/postgres", Proxy(server)
    through = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
    held, file = tmp_path / "held", tmp_path / "my.py"
    file.write_text(WAITS.format(held=str(held)))
    line = (file, "--rates", "0.3,0.6", "--seeds", "4", "--epochs", "4", "--hidden", "16", "--json")
    expected = numbers(study(*line, "--jobs", "1", "--out", tmp_path / "alone").out)
    held.mkdir()
    creator = command(*line, "--jobs", 0, "--storage", url, "--out", tmp_path / "out", constants=IMPATIENT)
    killed, cut = (command("work", "--storage", each, constants=IMPATIENT) for each in (url, through))
    wait_until(lambda: {path.name for path in held.iterdir()} == {str(killed.pid), str(cut.pid)})  # each has a trial
    killed.kill()
    proxy.down()
    silence(url)
    shutil.rmtree(held)
    prefix = ["faketime", "-f", "+1h"] if shutil.which("faketime") else []  # before a process starts, or never
    work, pipe = [sys.executable, "-m", "thinnet", "study", "work", "--storage", url], subprocess.PIPE
    late = subprocess.Popen([*prefix, *work], stdout=pipe, stderr=pipe, text=True, env=environment())
    first = tuple(f":{worker.pid}" for worker in (killed, cut))  # the one that is late trains while there is no network
    wait_until(lambda: any(not each["worker"].endswith(first) for each in state(url)["workers"]))
    proxy.up()
    found = numbers(ended(creator))
    assert found == expected
    assert ended(cut) and ended(late)
    final = state(url)
    assert (final["trials"], final["of"], final["done"]) == (12, 12, True)
    assert sum(each["trials"] for each in final["workers"]) == 12


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def test_a_trial_with_which_workers_are_killed_fails_and_the_others_go_on(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
):
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'shared.db'}"
    else:
        url = f"postgresql://postgres@127.0.0.1:{request.getfixturevalue('server')}/postgres"
    (tmp_path / "pids").mkdir()
    (tmp_path / "my.py").write_text(WAITS.format(held=str(tmp_path / "pids")))
    line = (tmp_path / "my.py", "--rates", "0.3,0.6", "--seeds", 1, "--epochs", 2, "--jobs", 0, "--json")
    creator = command(*line, "--storage", url, "--out", tmp_path / "out", constants=IMPATIENT)
    workers = [command("work", "--storage", url, constants=IMPATIENT) for _ in range(4)]
    killed = set[int]()

    def all_killed() -> bool:
        for path in (tmp_path / "pids").iterdir():
            killed.add(int(path.name))
            with suppress(ProcessLookupError):
                os.kill(int(path.name), signal.SIGKILL)
            path.unlink()
            silence(url)
        return creator.poll() is not None

    wait_until(all_killed)
    assert killed < {each.pid for each in workers} and len(killed) == 3
    found = json.loads(ended(creator))
    (failure,) = found["failures"]
    assert (failure["rate"], failure["seed"], failure["reason"][:32]) == (0.6, 0, "3 workers ended without an error")
    assert [each["rate"] for each in found["configurations"]] == [0.0, 0.3]
    for worker in workers:
        ended(worker, -signal.SIGKILL if worker.pid in killed else 0)


def test_workers_that_are_stopped_give_their_trials_back(tmp_path: Path):
    url, pids = f"sqlite:///{tmp_path / 'shared.db'}", tmp_path / "pids"
    pids.mkdir()
    (tmp_path / "my.py").write_text(WAITS.format(held=str(pids)))
    line = (tmp_path / "my.py", "--rates", "0.3,0.6", "--seeds", 2, "--epochs", 2, "--jobs", 0)
    creator = command(*line, "--storage", url, "--out", tmp_path / "out")
    workers = {worker.pid: worker for worker in (command("work", "--storage", url) for _ in range(2))}
    for how in (signal.SIGINT, signal.SIGTERM):  # one worker may hold both trials of p = 0.6
        wait_until(lambda: any((pids / str(pid)).exists() for pid in workers))
        worker = workers.pop(next(pid for pid in workers if (pids / str(pid)).exists()))
        assert state(url)["running"] >= 1
        worker.send_signal(how)
        _, errors = worker.communicate(timeout=PATIENCE)
        assert worker.returncode == 130
        assert re.search(r"Stopped after \d trials?\. Other workers train what this one has begun\.", errors)
    left = state(url)
    assert (left["running"], left["failed"], left["waiting"]) == (0, 0, 6 - left["trials"])
    creator.send_signal(signal.SIGINT)
    _, errors = creator.communicate(timeout=PATIENCE)
    assert creator.returncode == 130
    assert f"Stopped, with {counted(left['trials'], 'finished trial')} in {url}. The same command resumes from there." in errors


@needs_postgres
def test_two_plans_share_a_database_and_a_folder_keeps_its_own(server: int, study: Callable, alone: dict, tmp_path: Path):
    url = f"postgresql://postgres@127.0.0.1:{server}/postgres"
    one = study(*QUICK, "--json", "--jobs", "1", "--storage", url, "--out", tmp_path / "one")
    assert numbers(one.out) == alone
    other = study(*QUICK, "--json", "--jobs", "1", "--seed", "1", "--storage", url, "--out", tmp_path / "other")
    assert numbers(other.out) != alone
    again = study(*QUICK, "--json", "--jobs", "1", "--storage", url, "--out", tmp_path / "new")
    assert "12 trials already finished" in again.err
    assert numbers(again.out) == alone  # the weights come from the database
    moved = study(*QUICK, "--storage", url, "--out", tmp_path / "other")
    assert (moved.code, "must belong to the study in that database" in moved.err) == (2, True)


def test_a_worker_with_other_data_refuses(study: Callable, csv: Path, tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    common = ("--target", "label", "--jobs", "1", "--seeds", "1", "--storage", url)
    assert study(csv, *common, "--out", tmp_path / "out").code == 0
    store = Store.join(tmp_path / "w", url, state(url)["study"])
    store.study.set_user_attr("done", False)
    store.close()
    other = tmp_path / "other.csv"
    other.write_text(csv.read_text().replace("red", "blue"))
    worker = command("work", "--storage", url, "--data", other)
    _, errors = worker.communicate(timeout=PATIENCE)
    assert (worker.returncode, "--data: the data of a worker must be those of its study" in errors) == (2, True)


def test_a_file_travels_by_its_content(study: Callable, csv: Path, tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    line = (csv, "--target", "label", "--rates", "0.5", "--epochs", "2", "--hidden", "8", "--seeds", "2", "--json")
    expected = study(*line, "--jobs", "1", "--out", tmp_path / "alone")
    creator = command(*line, "--jobs", 0, "--storage", url, "--out", tmp_path / "out")
    wait_until(lambda: (tmp_path / "out" / "study.url").exists())
    wait_until(lambda: reached(url, waiting=1))
    csv.rename(tmp_path / "elsewhere.csv")
    assert "4 trials trained" in ended(command("work", "--storage", url))
    assert numbers(ended(creator)) == numbers(expected.out)


def test_a_trial_that_diverges_is_a_row_with_its_reason(study: Callable, tmp_path: Path):
    text = """
import torch
from torch import nn

class Breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    def forward(self, x):
        y = self.layers(x)
        return y * float("nan") if self.layers[1].p == 0.6 else y

def model(): return Breaks()
def data():
    x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()
"""
    (tmp_path / "breaks.py").write_text(text)
    outcome = study(tmp_path / "breaks.py", "--json", "--rates", "0.3,0.6", "--out", tmp_path / "out")
    found = json.loads(outcome.out)
    assert [each["rate"] for each in found["configurations"]] == [0.0, 0.3]
    assert [each["rate"] for each in found["failures"]] == [0.6] * 3
    assert "loss must stay finite" in found["failures"][0]["reason"]
    shown = study(tmp_path / "breaks.py", "--rates", "0.3,0.6", "--out", tmp_path / "out")
    assert shown.out.count("p = 0.6 failed at 3 seeds. At seed 0: --learning-rate: the train loss must stay finite") == 1
    for file in ("summary.md", "index.html"):
        assert "p = 0.6 failed at 3 seeds." in (tmp_path / "out" / file).read_text().replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("rate", [0.6, 0.0])
def test_failed_trials_are_trained_again_if_asked(rate: float, study: Callable, tmp_path: Path):
    text = """
import pathlib
import torch
from torch import nn

class Large(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    def forward(self, x):
        if self.training and self.layers[1].p == {rate} and len(x) > 3 and pathlib.Path({full!r}).exists():
            raise MemoryError("no memory. 9 GiB asked")
        return self.layers(x)

def model(): return Large()
def data():
    x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()
"""
    full, out = tmp_path / "full", tmp_path / "out"
    (tmp_path / "large.py").write_text(text.format(rate=rate, full=str(full)))
    line = (tmp_path / "large.py", "--rates", "0.3,0.6", "--json")
    expected = study(*line, "--out", tmp_path / "whole").result()
    full.touch()
    failed = study(*line, "--out", out)
    full.unlink()
    resumed = study(*line, "--out", out)  # a failed trial stays as it is
    assert failed.code == resumed.code == (0 if rate else 2)
    if rate:
        reasons = [each["reason"] for each in resumed.result()["failures"]]
        assert len(reasons) == 3 and all(reason.endswith("MemoryError: no memory. 9 GiB asked") for reason in reasons)
        for name in ("index.html", "summary.md"):
            page = (out / name).read_text().replace("\u00a0", " ")
            assert re.search(
                r"p = 0\.6 failed at 3 seeds\. At seed 0: .*MemoryError: no memory\. 9 GiB asked\. Once",
                page,
            )
            assert "with --retry-failed trains them again." in page
    else:
        assert "MemoryError: no memory. 9 GiB asked). Mend the cause and add --retry-failed, or" in resumed.err
    again = study(*line, "--retry-failed", "--out", out)
    assert "3 failed trials again" in again.err
    assert again.result() | {"test_looks": []} == expected | {"test_looks": []}
    assert "failed" not in study(*line, "--retry-failed", "--out", out).err


def test_an_error_of_the_model_in_training_is_a_row_and_ends_the_study_only_without_dropout(study: Callable, tmp_path: Path):
    text = """
from torch import nn
import torch

batch = 53  # one sample is left for the last batch

def model(): return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
def data():
    x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()
"""
    (tmp_path / "breaks.py").write_text(text)
    outcome = study(tmp_path / "breaks.py", "--rates", "0.3", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "training without dropout must succeed; got an error with seed 0" in outcome.err
    assert "ValueError: Expected more than 1 value per channel" in outcome.err


def result(key: TrialKey, loss: float = 0.5, failed: str = "") -> Trial:
    return Trial(*key, {} if failed else {"validation_loss": [loss]}, 0, 1.0, failed=failed)


def take_all(store: Store, seconds: float = 60.0) -> list[TrialKey]:
    """Take and end trials until none waits."""
    taken: list[TrialKey] = []
    while True:
        with store.queue.take(seconds) as batch:
            if not batch.keys:
                return taken
            for key in batch.keys:
                batch.end(result(key))
            taken += batch.keys


KEYS = [TrialKey(BASELINE, seed) for seed in range(12)]


def test_a_result_is_written_once(tmp_path: Path):
    store = Store(tmp_path / "out", LOCAL, f"sqlite:///{tmp_path / 'shared.db'}")
    first = result(TrialKey(Configuration("dropout", 0.1 + 0.2), 0), failed="no memory")
    store.add([first])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.add([])
    other = result(KEYS[0], failed="no memory")
    store.add([result(first.key, failed="another"), other])  # the new one of a batch is kept
    assert store.finished() == {first.key: first, other.key: other}
    store.close()


def test_a_queue_holds_each_trial_once_and_takes_back_what_ran(tmp_path: Path):
    store = Store(tmp_path / "out", LOCAL)
    for _ in range(2):
        store.queue.put(KEYS[:3])
    assert store.queue.counts() == {"waiting": 3, "running": 0}
    with pytest.raises(KeyboardInterrupt), store.queue.take(0.0) as batch:
        assert batch.keys == KEYS[:3]
        batch.end(result(KEYS[0]))
        assert store.queue.counts() == {"waiting": 0, "running": 2}
        raise KeyboardInterrupt
    assert store.queue.counts() == {"waiting": 2, "running": 0}  # at once, for the next worker
    store.queue.put(KEYS[1:3])
    assert sorted(take_all(store)) == KEYS[1:3]
    store.close()


def test_an_interrupted_batch_keeps_what_it_has_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store(tmp_path / "out", LOCAL)
    store.queue.put(KEYS[:3])

    def run_trial(data: object, plan: object, folder: Path, key: TrialKey, watch: object) -> Trial:
        if key == KEYS[1]:
            raise KeyboardInterrupt
        return result(key, failed="no weights to keep")

    monkeypatch.setattr("thinnet.study.workers.work.run_trial", run_trial)
    worker = Worker(store, None, None)  # type: ignore[arg-type]
    worker._seconds = 0.0  # takes all three
    with pytest.raises(KeyboardInterrupt):
        worker.batch()
    assert store.records.keys() == {KEYS[0]}
    assert store.queue.counts() == {"waiting": 2, "running": 0}
    store.close()


def test_a_trial_that_another_worker_has_finished_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    creator = Store(tmp_path / "out", LOCAL, f"sqlite:///{tmp_path / 'shared.db'}")
    creator.queue.put(KEYS[:1])
    creator.records.add([result(KEYS[0])], [b"weights that only the other worker has as a file"])
    monkeypatch.setattr("thinnet.study.workers.work.run_trial", raises)
    store = Store.join(tmp_path / "w", creator.url, creator.name)
    assert Worker(store, None, None).batch() == [result(KEYS[0])]  # type: ignore[arg-type]
    assert creator.queue.counts() == {"waiting": 0, "running": 0}
    store.close()
    creator.close()


def test_workers_take_every_trial_once_however_they_race(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    store = Store(tmp_path / "out", LOCAL, url)
    keys = [TrialKey(BASELINE, seed) for seed in range(40)]
    threads = 4
    with ThreadPoolExecutor(threads) as pool:
        stores = list(pool.map(lambda each: Store.join(tmp_path / str(each), url, store.name), range(threads)))
        list(pool.map(lambda each: each.queue._add(keys[0]), stores))  # numbers are not given twice
        list(pool.map(lambda each: each.queue.put(keys[1:]), stores[:1]))
        taken = [key for keys in pool.map(take_all, stores, [0.001] * threads) for key in keys]
        list(pool.map(lambda each: each.close(), stores))
    assert sorted(taken) == sorted([keys[0]] * threads + keys[1:])
    store.close()


def test_a_worker_outlives_a_database_that_is_gone_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("thinnet.study.workers.records.PAUSE", 0.0)
    store, calls = Store(tmp_path / "out", LOCAL), iter([StorageInternalError(), StorageInternalError()])
    store.queue.put(KEYS[:1])
    real = store._storage.set_trial_state_values

    def unreachable_twice(*arguments: object) -> bool:
        for error in calls:
            raise error
        return real(*arguments)  # type: ignore[arg-type]

    with store.queue.take(0.0) as batch:
        monkeypatch.setattr(store._storage, "set_trial_state_values", unreachable_twice)
        batch.end(result(KEYS[0]))
    assert store.queue.counts() == {"waiting": 0, "running": 0}
    store.queue.put(KEYS[1:2])
    with store.queue.take(0.0):  # what it cannot give back expires
        monkeypatch.setattr(store._storage, "set_trial_state_values", raises)
    assert store.queue.counts() == {"waiting": 0, "running": 1}
    store.close()


def raises(*_: object) -> bool:
    raise StorageInternalError


def test_a_worker_outlives_the_loss_of_any_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("thinnet.study.workers.records.PAUSE", 0.0)
    monkeypatch.setattr("thinnet.study.workers.work.run_trial", lambda data, plan, folder, key, watch: result(key))
    monkeypatch.setattr(Store, "_weights", lambda store, trial: None)
    creator = Store(tmp_path / "out", LOCAL, f"sqlite:///{tmp_path / 'shared.db'}")
    statements, lost = itertools.count(), -1

    def lose(*_: object) -> None:
        if next(statements) == lost:
            raise OperationalError("", None, OSError("the connection is lost"))

    for seed in itertools.count():
        store = Store.join(tmp_path / "w", creator.url, creator.name)
        creator.queue.put([key := TrialKey(BASELINE, seed)])
        statements = itertools.count()
        event.listen(store._storage.engine, "before_cursor_execute", lose)
        worker = Worker(store, None, None)  # type: ignore[arg-type]
        trained = [trial.key for trial in worker.batch() + worker.batch()]
        store.expire()
        assert not store.done
        assert (trained, creator.queue.counts()) == ([key], {"waiting": 0, "running": 0})
        assert creator.records.get(key) == result(key)
        store.close()
        lost += 1
        if lost > next(statements):
            break
    creator.close()


def test_a_trial_of_a_dead_worker_goes_to_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, now = Store(tmp_path / "out", LOCAL), time.monotonic()
    store.queue.put(KEYS[:2])
    dead, alive = store.queue.take(60.0), store.queue.take(60.0)
    assert len({*dead.keys, *alive.keys}) == 2
    alive.queue.storage.record_heartbeat(1 + KEYS.index(alive.keys[0]))
    for seconds, waiting in ((0, 0), (GRACE - 1, 0), (GRACE + 1, 1), (GRACE + 2, 1)):
        monkeypatch.setattr("time.monotonic", lambda seconds=seconds: now + seconds)
        store.expire()
        assert store.queue.counts() == {"waiting": waiting, "running": 2 - waiting}
    with store.queue.take(60.0) as batch:
        assert batch.keys == dead.keys
    with store.records.engine.begin() as connection:  # its last sign of life was long ago
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00'")
    store.expire()
    assert store.queue.counts() == {"waiting": 2, "running": 0}
    store.close()


@pytest.mark.parametrize("sign_of_life", [True, False])
def test_a_trial_whose_workers_die_is_a_row_with_its_reason(
    sign_of_life: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store, now = Store(tmp_path / "out", LOCAL), time.monotonic()
    store.queue.put(KEYS[:1])
    for deaths in range(MOST_DEATHS):
        assert store.finished() == {} and store.queue.counts() == {"waiting": 1, "running": 0}
        if deaths == 5:
            with store.queue.take(60.0) as batch:  # given back: no death, and none is forgotten
                assert batch.keys == KEYS[:1]
        assert store.queue.take(60.0).keys == KEYS[:1]
        ((row,), storage) = store.queue._rows(TrialState.RUNNING), store.queue.storage
        if sign_of_life:
            storage.record_heartbeat(store.queue._trial_id(row))
            with store.records.engine.begin() as connection:
                connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00'")
        store.expire()
        now += GRACE + 1
        monkeypatch.setattr("time.monotonic", lambda now=now: now)
        store.expire()
    assert store.queue.counts() == {"waiting": 0, "running": 0}
    (failed,) = store.finished().values()
    assert failed.key == KEYS[0] and failed.failed.startswith("10 workers ended without an error")
    store.queue.put(KEYS[:2])  # one that is queued again is not trained again
    monkeypatch.setattr(
        "thinnet.study.workers.work.run_trial", lambda data, plan, folder, key, watch: result(key, failed="ran")
    )
    worker = Worker(store, None, None)  # type: ignore[arg-type]
    assert {trial.key: trial.failed for trial in worker.batch() + worker.batch()} == {
        KEYS[0]: failed.failed,
        KEYS[1]: "ran",
    }
    assert store.retry() == 2 and store.finished() == {}
    store.queue.put(KEYS[:1])
    store.queue.take(60.0)  # dies too, and is the first one again
    for seconds in (0, GRACE + 1):
        monkeypatch.setattr("time.monotonic", lambda seconds=seconds: now + seconds)
        store.expire()
    assert store.finished() == {} and store.queue.counts() == {"waiting": 1, "running": 0}
    store.close()


def test_a_trial_that_two_workers_put_back_at_the_same_time_runs_once(tmp_path: Path):
    store = Store(tmp_path / "out", LOCAL)
    for _ in range(3):
        store.queue._add(KEYS[0])
    first = store.queue.take(60.0)
    assert (first.keys, store.queue.take(60.0).keys) == (KEYS[:1], [])
    store.expire()
    assert store.queue.counts() == {"waiting": 0, "running": 1}
    with first:  # gives it back
        pass
    assert store.queue.counts() == {"waiting": 1, "running": 0} and take_all(store) == KEYS[:1]
    store.close()


def test_a_trial_with_which_a_worker_died_is_taken_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, now = Store(tmp_path / "out", LOCAL), time.monotonic()
    store.queue.put(KEYS[:2])
    assert len(store.queue.take(0.0).keys) == 2
    for seconds in (0, GRACE + 1):
        monkeypatch.setattr("time.monotonic", lambda seconds=seconds: now + seconds)
        store.expire()
    store.queue.put(KEYS[2:6])
    sizes = {}
    while (batch := store.queue.take(0.0)).keys:
        with batch:
            sizes |= dict.fromkeys(batch.keys, len(batch.keys))
            for key in list(batch.keys):
                batch.end(result(key))
    assert sizes[KEYS[0]] == sizes[KEYS[1]] == 1
    assert all(sizes[key] == 4 for key in KEYS[2:6])
    store.close()


def test_a_worker_shows_that_every_trial_of_its_batch_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("thinnet.study.workers.queue.HEARTBEAT", 0.01)
    store, numbers = Store(tmp_path / "out", LOCAL), list[int]()
    store.queue.put(KEYS[:3])

    def record(trial: int) -> None:
        numbers.append(trial)
        raise OSError  # does not end the thread

    monkeypatch.setattr(store._storage, "record_heartbeat", record)
    with store.queue.take(0.0) as batch:
        wait_until(lambda: len(numbers) > 6)
        for key in batch.keys:
            batch.end(result(key))
    assert len({*numbers}) == 3
    store.close()


def test_trials_run_in_order_in_one_process_and_workers_do_not_all_want_the_first(tmp_path: Path):
    store = Store(tmp_path / "out", LOCAL)
    store.queue.put(KEYS)
    assert take_all(store) == KEYS
    store.queue.put(KEYS)
    first = {tuple(store.queue.take(60.0).keys) for _ in KEYS}
    assert len(first) == len(KEYS) and all(len(each) == 1 for each in first)
    store.close()


def test_short_trials_go_in_batches_that_leave_some_to_others():
    for looking, training, waiting, running in itertools.product(
        (0.01, 1.0), (0.0, 0.01, 1.0, math.inf), (1, 7, 1_000), (0, 40)
    ):
        size = batch_size(looking, training, waiting, running)
        assert size == 1 or size * (running + 1) <= waiting
        assert size == 1 or (size - 1) * training * SHARE < looking  # and no more than it takes
    assert batch_size(1.0, 0.0, waiting=1_000, running=0) == 1_000
    assert batch_size(0.1, 1.0, waiting=1_000, running=9) == 1


@pytest.mark.parametrize(("workers", "expected"), [(1, 1 / 1.1), (4, 4 / 1.1), (1_000, 1 / 0.05)])
def test_simulated_workers_are_limited_by_training_and_then_by_the_storage(workers: int, expected: float):
    found = simulated(workers, 1.0, lambda there: min(there / 0.1, 1 / 0.05))
    assert found == pytest.approx(expected, rel=0.01)


def test_simulated_workers_that_do_not_train_have_the_rate_of_the_storage():
    rows = json.loads((RESULTS / "workers.json").read_text())["rows"]
    for row in rows:
        if not row["training"]:
            assert predicted(rows, row) == pytest.approx(row["trials_per_second"], rel=1e-6)


def test_the_simulator_agrees_with_workers_that_were_measured():
    rows = json.loads((RESULTS / "workers.json").read_text())["rows"]
    ratios = [predicted(rows, row) / row["trials_per_second"] for row in rows if row["training"]]
    assert len(ratios) >= 3
    assert all(1 / STATED < ratio < STATED for ratio in ratios), ratios


def test_who_reads_sqlite_waits_for_nobody_and_a_row_lock_is_its_lock(tmp_path: Path):
    store = Store(tmp_path / "out", LOCAL)
    store.queue.put(KEYS[:2])
    with closing(sqlite3.connect(tmp_path / "out" / DATABASE, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.queue.counts()["waiting"] == 2
        assert store.records.keys() == set()
        other.rollback()
        with store.records.engine.begin() as connection:
            connection.execute(sql.text("SELECT * FROM trials")).all()
            other.execute("BEGIN IMMEDIATE")
            other.rollback()
            connection.execute(sql.select(sql.text("* FROM trials")).with_for_update()).all()
            with pytest.raises(sqlite3.OperationalError, match="locked"):  # or both could take the trial that both have read
                other.execute("BEGIN IMMEDIATE")
    store.close()


def test_a_closed_database_is_one_file_that_can_be_copied_and_read_only(tmp_path: Path):
    one, url = Store(tmp_path / "out", LOCAL), f"sqlite:///{tmp_path / 'out' / DATABASE}"
    two = Store.join(tmp_path / "two", url, one.name)
    one.queue.put(KEYS[:2])
    assert (tmp_path / "out" / f"{DATABASE}-wal").exists() == on_local_disk(tmp_path)
    for store in (one, two):
        store.close()
    copy = tmp_path / "copy.db"
    copy.write_bytes((tmp_path / "out" / DATABASE).read_bytes())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {DATABASE, "study.lock"}
    with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as database:
        assert database.execute("SELECT count(*) FROM trials").fetchone() == (2,)
    assert copy.read_bytes()[18:20] == b"\x01\x01"  # its header asks for no write-ahead log, which needs a folder to write to


@pytest.mark.parametrize(("kind", "local"), [("ext4", True), ("nfs4", False), ("fuse.sshfs", False)])
def test_a_network_file_system_has_no_write_ahead_log(kind: str, local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    device, mounts = tmp_path.stat().st_dev, tmp_path / "mounts"
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts.write_text(f"20 1 0:99 / /proc rw - proc proc rw\n30 1 {number} / / rw,relatime shared:1 - {kind} where rw\n")
    assert on_local_disk(tmp_path, mounts) == local
    assert not on_local_disk(tmp_path, tmp_path / "another system")
    monkeypatch.setattr(sqlite, "MOUNTS", mounts)
    with closing(sqlite3.connect(tmp_path / "a.db", factory=sqlite.Connection)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal" if local else "delete",)
        assert database.execute("PRAGMA synchronous").fetchone() == (1 if local else 2,)


def test_bad_databases_are_refused_and_stay_as_they_are(study: Callable, tmp_path: Path):
    broken = tmp_path / "out" / DATABASE
    broken.parent.mkdir()
    broken.write_bytes(b"no database" * 100)
    outcome = study(*QUICK, "--out", broken.parent)
    assert (outcome.code, "must be a study of thinnet" in outcome.err) == (2, True)
    assert broken.read_bytes() == b"no database" * 100
    for url, words in (
        ("postgresql://nobody@127.0.0.1:1/none", "the database must be reachable"),
        ("nonsense", "the database must be a URL"),
    ):
        outcome = study(*QUICK, "--storage", url, "--out", tmp_path / "new")
        assert (outcome.code, words in outcome.err) == (2, True), outcome.err
    outcome = study(*QUICK, "--on", "ray", "--out", tmp_path / "new")
    assert (outcome.code, "--on: workers elsewhere must share a database" in outcome.err) == (2, True)
    with pytest.raises(StudyError, match="the file must exist"):
        Store.join(tmp_path / "w", f"sqlite:///{tmp_path / 'empty.db'}", "thinnet-1")


def test_a_store_of_an_earlier_version_is_refused_and_stays_as_it_is(study: Callable, tmp_path: Path):
    folder = tmp_path / "out"
    assert study("wine", "--seeds", "1", "--epochs", "1", "--out", folder).code == 0
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:  # before results had a table, and a version
        database.execute("DROP TABLE thinnet_trial")
        database.execute("DROP TABLE thinnet_source")
        (identity,) = database.execute("SELECT value_json FROM study_user_attributes WHERE key = 'identity'").fetchone()
        earlier = json.dumps({name: value for name, value in json.loads(identity).items() if name != "schema"})
        database.execute("UPDATE study_user_attributes SET value_json = ? WHERE key = 'identity'", (earlier,))
    before = (folder / DATABASE).read_bytes()
    outcome = study("wine", "--seeds", "1", "--epochs", "1", "--out", folder)
    assert outcome.code == 2
    assert "the study must be of this version of the store, 3; got" in outcome.err
    assert "a study of version 1. Choose another --out, or install the version of thinnet that began it." in outcome.err
    assert (folder / DATABASE).read_bytes() == before


def test_a_worker_refuses_a_study_of_another_version_of_the_store(tmp_path: Path):
    store = Store(tmp_path / "out", LOCAL, f"sqlite:///{tmp_path / 'shared.db'}")
    store.study.set_user_attr("identity", LOCAL | {"schema": 2})
    with pytest.raises(StudyError, match=r"must be of this version of the store, 3; got thinnet-\w+, a study of version 2"):
        problem_of(store, None)
    store.close()


def test_who_joins_a_study_writes_nothing(tmp_path: Path):
    path = tmp_path / "shared.db"
    store = Store(tmp_path / "out", LOCAL, f"sqlite:///{path}")
    store.queue.put(KEYS[:2])
    store.close()
    joined = Store.join(tmp_path / "w", f"sqlite:///file:{path}?mode=ro&uri=true", store.name)  # as in a read-only folder
    assert joined.queue.counts() == {"waiting": 2, "running": 0}
    assert joined.records.keys() == set() and not joined.done
    joined.close()


def test_status_is_shown_as_a_table_and_as_json(study: Callable, tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    study(*QUICK, "--seeds", "1", "--jobs", "1", "--storage", url, "--out", tmp_path / "out")
    shown = CliRunner().invoke(app, ["study", "status", "--storage", url])
    assert shown.exit_code == 0 and "3 trials, last" in shown.stdout
    assert json.loads(CliRunner().invoke(app, ["study", "status", "--storage", url, "--json"]).stdout)[0]["done"]


def test_status_shows_the_study_of_a_folder_which_workers_elsewhere_leave_alone(study: Callable, tmp_path: Path):
    out, url = tmp_path / "out", f"sqlite:///{tmp_path / 'out' / DATABASE}"
    assert study("wine", "--epochs", "1", "--seeds", "1", "--out", out).code == 0
    assert {"study": "thinnet", "data": "wine", "trials": 3, "of": 3, "done": True}.items() <= state(url).items()
    with closing(sqlite3.connect(out / DATABASE)) as database, database:
        database.execute("UPDATE study_user_attributes SET value_json = 'false' WHERE key = 'done'")
    before = (out / DATABASE).read_bytes()
    assert not state(url)["done"] and open_studies(url, None) == open_studies(url, "thinnet") == []
    assert (out / DATABASE).read_bytes() == before
    assert not list(out.glob(f"{DATABASE}-*"))


@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite:///file:{}?mode=rwc&uri=true"])
@pytest.mark.parametrize("line", [("status",), ("status", "--json"), ("work", "--wait", "0.1s")])
def test_a_database_without_a_file_is_refused_and_not_created(line: tuple[str, ...], form: str, tmp_path: Path):
    path = tmp_path / "typo.db"
    refused = CliRunner().invoke(app, ["study", *line, "--storage", form.format(path)])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"--storage: the file must exist; got no {path}." in refused.stderr.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_a_worker_that_starts_first_waits_for_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, naps = tmp_path / "late.db", list[float]()
    url = f"sqlite:///{path}"

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            Store(tmp_path / "out", LOCAL, url).close()
        assert path.exists() == (len(naps) >= 3)
        if len(naps) == 5:  # the study is not published
            raise KeyboardInterrupt

    monkeypatch.setattr("thinnet.study.workers.serve.time.sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        serve(url, None, None, math.inf, Console(quiet=True))


def test_a_worker_that_was_not_needed_leaves_with_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store(tmp_path / "out", LOCAL, f"sqlite:///{tmp_path / 'shared.db'}")
    store.study.set_user_attr("plan", {})

    def others_finish(worker: Worker) -> Iterator[Trial]:
        worker.store.done = True
        yield from ()

    monkeypatch.setattr(Worker, "work", others_finish)
    monkeypatch.setattr("thinnet.study.workers.serve.problem_of", lambda store, data: (SimpleNamespace(name="wine"), None))
    monkeypatch.setattr("thinnet.study.workers.serve.time.sleep", raises)
    assert serve(store.url, None, None, math.inf, Console(quiet=True)) == 0
    store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("interrupted", [False, True])
def test_processes_that_still_import_end_at_once_also_where_ctrl_c_came_while_they_started(
    interrupted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    start = SpawnProcess.start

    def started(process: SpawnProcess) -> None:
        start(process)
        if interrupted:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SpawnProcess, "start", started)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    large: Any = bytes(1 << 20)  # more than a pipe holds: no start may wait until a process has imported, and reads it
    workers = Processes(2, SimpleNamespace(folder=tmp_path, url="", name=""), large, None)  # type: ignore[arg-type]
    try:
        with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext(), workers:
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    begun = [process for process in workers._processes if process.pid is not None]  # an interrupt may come before the second
    assert begun and [process.exitcode for process in begun] == [-signal.SIGTERM] * len(begun)
    assert interrupted or len(begun) == 2


def programs_own(path: Path, journal: str = "DELETE") -> None:
    """Create the database of another program, which has a table with the name of one of Optuna's."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"PRAGMA journal_mode = {journal}")
        database.execute("CREATE TABLE studies (id INTEGER PRIMARY KEY, title TEXT)")
        database.execute("INSERT INTO studies VALUES (1, 'nature')")


@pytest.mark.parametrize("kind", ["empty", "text", "another program's", "with a write-ahead log"])
@pytest.mark.parametrize("line", [("status",), ("status", "--json"), ("work", "--wait", "0.1s")])
def test_who_looks_into_a_file_of_another_program_changes_nothing(kind: str, line: tuple[str, ...], tmp_path: Path):
    path = tmp_path / "a?b%20c.db"
    if kind in ("empty", "text"):
        path.write_bytes(b"" if kind == "empty" else b"no database" * 100)
    else:
        programs_own(path, "WAL" if "log" in kind else "DELETE")
    before, when = path.read_bytes(), path.stat().st_mtime_ns
    url = URL.create("sqlite", database=str(path)).render_as_string()
    looked = CliRunner().invoke(app, ["study", *line, "--storage", url])
    if kind == "text":
        assert (looked.exit_code, "file is not a database" in looked.stderr) == (2, True)
    elif line == ("status",):
        assert (looked.exit_code, "the database must hold a study; got none" in looked.stderr) == (2, True)
    else:
        assert (looked.exit_code, looked.stdout.strip()) == (0, "[]" if "--json" in line else "0 trials trained.")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, when)
    assert list(tmp_path.iterdir()) == [path]


def new_database(server: int, name: str) -> str:
    """Create an empty database; return its URL."""
    engine = sql.create_engine(f"postgresql://postgres@127.0.0.1:{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return f"postgresql://postgres@127.0.0.1:{server}/{name}"


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_study_adds_no_tables_to_the_database_of_another_program(journal: str, tmp_path: Path):
    path = tmp_path / "theirs.db"
    programs_own(path, journal)
    before = path.read_bytes()
    with pytest.raises(StudyError, match=r"must be empty or hold studies; got .*a table 'studies' of another program"):
        Store(tmp_path / "out", LOCAL, f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert not Path(f"{path}-wal").exists()


class Slow:
    """An argument that a worker takes a minute to read, as it does to import large libraries."""

    def __reduce__(self) -> tuple:
        return time.sleep, (60,)


def test_workers_that_have_not_begun_do_not_hold_up_the_end_of_a_study(tmp_path: Path):
    store = SimpleNamespace(folder=tmp_path, url="sqlite://", name="thinnet")
    with Processes(2, store, Slow(), None) as workers:
        pass
    assert [process.exitcode for process in workers._processes] == [-signal.SIGTERM] * 2


@needs_postgres
def test_studies_can_begin_at_once_in_an_empty_database(server: int, tmp_path: Path):
    url, ready = new_database(server, "fresh"), threading.Barrier(4)

    def begin(number: int) -> None:
        ready.wait()
        Store(tmp_path / str(number), LOCAL | {"data": str(number)}, url).close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin, range(4)))
    assert len(studies_in(url)) == 4


@needs_postgres
def test_who_looks_into_a_database_of_another_program_creates_no_table(server: int):
    url = new_database(server, "theirs")
    for line, code in ((("status",), 2), (("status", "--json"), 0), (("work", "--wait", "0.1s"), 0)):
        assert CliRunner().invoke(app, ["study", *line, "--storage", url]).exit_code == code
    theirs = sql.create_engine(url)
    assert sql.inspect(theirs).get_table_names() == []
    theirs.dispose()


def test_a_full_disk_of_a_shared_database_is_one_sentence(study: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    line = (*QUICK, "--seeds", "1", "--epochs", "1", "--jobs", "1", "--storage", url, "--out", tmp_path / "out")
    assert study(*line).code == 0
    store = Store.join(tmp_path / "w", url, state(url)["study"])
    store.study.set_user_attr("done", False)
    store.queue.put([TrialKey(BASELINE, 7)])
    store.close()

    def full(*_: object) -> bool:
        try:
            raise sqlite3.OperationalError("database or disk is full")
        except sqlite3.OperationalError as error:
            raise StorageInternalError("a sentence about invalid data") from error

    monkeypatch.setattr(Storage, "set_trial_state_values", full)
    worker = CliRunner().invoke(app, ["study", "work", "--storage", url])
    again = study(*line, "--seeds", "2")
    for code, errors in ((worker.exit_code, worker.stderr), (again.code, again.err)):
        assert code == 2
        assert errors.splitlines()[-1] == (
            "--storage: the database must stay reachable and writable; got database or disk is full. "
            "Finished trials are kept; the same command goes on when it is."
        )


def test_status_changes_no_study_and_names_those_of_another_version(study: Callable, tmp_path: Path):
    path, url = tmp_path / "shared.db", f"sqlite:///{tmp_path / 'shared.db'}"
    study(*QUICK, "--seeds", "1", "--jobs", "1", "--storage", url, "--out", tmp_path / "out")
    (ours,) = statuses(url)
    earlier = Store(tmp_path / "earlier", LOCAL, url)
    for name, value in {"identity": LOCAL | {"schema": 2}, "plan": {}, "asked": {"file": "a.csv"}}.items():
        earlier.study.set_user_attr(name, value)
    earlier.close()
    before = path.read_bytes()
    shown = CliRunner().invoke(app, ["study", "status", "--storage", url])
    assert (shown.exit_code, "3 trials, last" in shown.stdout) == (0, True)
    assert f"{earlier.name} · a study of version 2 of the store; this version of thinnet reads 3." in shown.stdout
    assert {each["study"]: each["version"] for each in statuses(url)} == {ours["study"]: 3, earlier.name: 2}
    assert open_studies(url, None) == []  # no worker takes it
    assert open_studies(url, earlier.name) == [earlier.name]  # and says why, if it is asked to
    assert path.read_bytes() == before
    assert {each.name for each in tmp_path.iterdir()} == {"shared.db", "out", "earlier"}


def test_slurm_gets_a_script_with_an_array(study: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    runs = f"grep -h thinnet $1 | tail -1 | sh >{tmp_path}/log 2>&1 &"
    (tmp_path / "sbatch").write_text(f"#!/bin/sh\n{runs}\necho Submitted batch job 7\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    line = ("--rates", "0.5", "--seeds", "1", "--epochs", "1", "--storage", url, "--on", "slurm", "--jobs", "3")
    outcome = study("wine", *line, "--out", tmp_path / "out")
    assert (outcome.code, "Submitted batch job 7" in outcome.err) == (0, True), outcome.err
    script = (tmp_path / "out" / "workers.sbatch").read_text()
    assert script == slurm_script(3, url, state(url)["study"])
    assert "#SBATCH --array=1-3" in script


def test_ray_trains_on_two_nodes(alone: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: Callable):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    try:
        line = ("--json", "--jobs", "2", "--on", "ray", "--address", cluster.address)
        outcome = study(*QUICK, *line, "--storage", f"sqlite:///{tmp_path / 'shared.db'}", "--out", tmp_path / "out")
        assert numbers(outcome.out) == alone
    finally:
        cluster.shutdown()


def test_a_time_limit_is_decided_once_for_a_folder_whose_study_is_elsewhere(
    study: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    line = ("wine", "--epochs", "50", "--budget", "60s", "--storage", f"sqlite:///{tmp_path / 'shared.db'}")
    monkeypatch.setattr("thinnet.study.workers.budget.seconds_per_row", lambda data, plan: 1e-3)
    first = study(*line, "--json", "--out", tmp_path / "out")
    monkeypatch.setattr("thinnet.study.workers.budget.seconds_per_row", lambda data, plan: 2e-3)
    again = study(*line, "--json", "--out", tmp_path / "out")
    assert (first.code, again.code) == (0, 0), again.err
    assert again.result()["plan"]["epochs"] == first.result()["plan"]["epochs"] < 50
    assert "9 trials already finished" in again.err
