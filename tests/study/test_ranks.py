"""Trials over the ranks of torchrun have the numbers of one process, to rounding."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from processes import environment, ranks_of, run_thinnet

from thinnet.study.data.reading import open_problem
from thinnet.study.design.plan import StudyError
from thinnet.study.request import requested

CURVES, SHARES = 1e-4, 1e-3
"""The rounding of losses in training and of shares, which tests derive from them."""

NETWORK = """
import torch
from torch import nn

batch, epochs = 16, 4

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.drop, self.b = nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.b(self.drop(self.norm(self.a(x)).relu()))

def model(): return Network()
def optimizer(parameters): return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)  # Adam amplifies a gradient of zero
def data():
    x = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()
"""


PATIENT = 300.0
IMPATIENT = """
from thinnet.__main__ import main
from thinnet.study.training import ranks

ranks.PATIENCE *= 0.1
main()
"""
"""The command, whose ranks wait two seconds for an error of the others: none will come."""


def torchrun(ranks: int, program: tuple[str, ...], *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *program]
    command = [*line, "study", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=PATIENT)


def over_ranks(size: int, *arguments: object) -> list[tuple[int, str, str]]:
    """The exit code, the output and the errors of each rank."""
    with ranks_of(size, run_thinnet, {}, "study", *map(str, arguments)) as ranks, ThreadPoolExecutor(size) as pool:
        shown = pool.map(lambda rank: rank.communicate(PATIENT), ranks)
        return [(rank.returncode or 0, *texts) for rank, texts in zip(ranks, shown, strict=True)]


def assert_close(ours: Any, theirs: Any, where: str = "") -> None:
    """Numbers of two documents are equal to the stated rounding; texts write them with fewer digits."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for name in ours:
            assert_close(ours[name], theirs[name], f"{where}/{name}")
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), where
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other, where)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=CURVES, abs=SHARES if "finalists" in where else CURVES), where


def table(text: str) -> dict[str, Any]:
    found = json.loads(text)
    return {name: found[name] for name in ("configurations", "finalists", "failures")}


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_table_of_ranks_is_that_of_one_process(ranks: int, study: Callable, tmp_path: Path) -> None:
    problem, file = ("wine", "--hidden", "16"), tmp_path / "network.py"
    if ranks == 3:
        file.write_text(NETWORK.replace("ROWS", "138"))
        rows = len(open_problem(file, None).dataset(0).train)
        assert rows % 16 == 2  # fewer rows in the last batch than ranks
        problem = (str(file),)
    line = (*problem, "--rates", "0.2,0.5", "--methods", "dropout,thin" if ranks == 2 else "dropout", "--json")
    line = (*line, "--seeds", "3", "--epochs", "4")
    alone = study(*line, "--out", tmp_path / "alone")
    if ranks == 2:
        together = torchrun(ranks, ("-m", "thinnet"), *line, "--out", tmp_path / "together")
        code, shown, errors = together.returncode, together.stdout, together.stderr
    else:
        (code, shown, errors), *others = over_ranks(ranks, *line, "--out", tmp_path / "together")
        assert others == [(0, "", "")] * (ranks - 1)
    assert code == 0, errors
    assert_close(table(shown), table(alone.out))
    assert errors.count("3 seeds") == 1  # rank 0 alone speaks


BREAKS = """
import os
import torch
from torch import nn

epochs = 2

class Breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.drop, self.b = nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2)

    def forward(self, x):
        if self.training and self.drop.p == 0.6 and os.environ["RANK"] in "WHICH":
            raise RuntimeError("no memory")
        return self.b(self.drop(self.a(x)))

def model(): return Breaks()
def data():
    x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()
"""


@pytest.mark.parametrize("which", ["0", "1", "01"])
def test_an_error_on_all_ranks_is_a_row_and_one_on_a_single_rank_ends_the_run(which: str, tmp_path: Path) -> None:
    file, folder = tmp_path / "breaks.py", tmp_path / "out"
    file.write_text(BREAKS.replace("WHICH", which))
    line = (file, "--rates", "0.3,0.6", "--seeds", "1", "--json", "--out", folder)
    if which == "01":
        (code, shown, errors), other = over_ranks(2, *line)
        assert (code, other) == (0, (0, "", "")), errors
        (failure,) = json.loads(shown)["failures"]
        assert failure["reason"].endswith("raises RuntimeError: no memory")
        return
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    outcome = torchrun(2, (str(tmp_path / "impatient.py"),), *line)
    assert outcome.returncode == 1  # torchrun's, whatever the rank has
    assert f"torchrun: every rank must live to the end; got rank {which} with {file}:" in outcome.stderr, outcome.stderr
    assert "raises RuntimeError: no memory. Finished trials are kept." in outcome.stderr


def test_ranks_refuse_other_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StudyError, match="all ranks train one trial at a time; got --jobs 2"):
        requested(None, jobs=2, command="", given={})
