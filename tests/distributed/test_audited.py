"""`audit(ranks=True)` finds each mistake between four processes, and nothing where there is none."""

from pathlib import Path

import pytest
import torch
from processes import assert_torchrun
from torch import nn

import thinnet


def test_an_audit_between_ranks_finds_mistakes_and_raises_no_false_alarm() -> None:
    assert_torchrun(4, Path(__file__).with_name("audited_worker.py"))


def test_one_process_has_no_ranks_to_compare() -> None:
    with pytest.raises(ValueError, match="ranks=True needs a process group of several ranks"):
        thinnet.audit(nn.Dropout(0.5), torch.ones(4, 4), ranks=True)
