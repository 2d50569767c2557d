"""`audit(ranks=True)` finds each mistake between four processes, and nothing where there is none."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import assert_ranks, environment
from torch import nn

import thinnet


def test_an_audit_between_ranks_finds_mistakes_and_raises_no_false_alarm() -> None:
    assert_ranks(4, Path(__file__).with_name("audited_worker.py"))


def test_the_command_compares_ranks_and_prints_once(tmp_path: Path) -> None:
    file = tmp_path / "made.py"
    file.write_text(
        "import torch.distributed as dist\nfrom torch import nn\n"
        "def right():\n    return nn.Sequential(nn.Linear(16, 64), nn.Dropout(0.5), nn.Linear(64, 4))\n"
        "def wrong():\n    model = right()\n    model[1].p = 0.1 + 0.1 * dist.get_rank()\n    return model\n"
    )
    for name, status in (("right", 0), ("wrong", 1)):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "thinnet"]
        command += ["audit", f"{file}:{name}", "--input", "8x16", "--ranks"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=100, check=False)
        assert (done.returncode != 0) == status and done.stdout.count("AUD406 error") == status, done.stdout + done.stderr
        assert done.stdout.count("finding") == 1, done.stdout


def test_one_process_has_no_ranks_to_compare() -> None:
    with pytest.raises(ValueError, match="ranks=True needs a process group of several ranks"):
        thinnet.audit(nn.Dropout(0.5), torch.ones(4, 4), ranks=True)
