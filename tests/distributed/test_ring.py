"""Ring attention on 2 and 4 processes has the masks, the outputs and the gradients of one device."""

from pathlib import Path

import pytest
from processes import assert_torchrun


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_ring_equals_one_device(ranks: int) -> None:
    assert_torchrun(ranks, Path(__file__).with_name("ring_worker.py"))
