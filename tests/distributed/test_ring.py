"""Ring attention, and attention of DTensors, on 2 and 4 processes: masks, outputs and gradients of one device."""

from pathlib import Path

import pytest
from processes import assert_ranks


@pytest.mark.parametrize("ranks", [2, 4])
def test_attention_of_ranks_equals_one_device(ranks: int) -> None:
    assert_ranks(ranks, Path(__file__).with_name("ring_worker.py"))
