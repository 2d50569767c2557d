"""1 process = 2 = 4: data parallel, sharded and tensor parallel training have the masks of one process."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import assert_ranks
from training import Tables, assert_same_training, trained


@pytest.fixture(scope="module", params=[1, 2, 4], ids=lambda ranks: f"{ranks} ranks")
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The results of each rank."""
    folder = tmp_path_factory.mktemp("ranks")
    assert_ranks(request.param, Path(__file__).with_name("rank_worker.py"), folder)
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


def together(tables: list[Tables]) -> Tables:
    """The results for the samples that the ranks share."""
    joined = dict(tables[0])
    for more in tables[1:]:
        joined = {name: torch.where(seen.isnan(), more[name], seen) for name, seen in joined.items()}
    return joined


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_ranks_that_share_the_batch_have_the_masks_of_one_process(ranks: list[dict[str, Any]], way: str) -> None:
    expected, tables = trained(), together([rank[way][1] for rank in ranks])
    for rank in ranks:
        assert_same_training(expected, (rank[way][0], tables))


def test_ranks_that_share_the_units_have_the_masks_of_one_process(ranks: list[dict[str, Any]]) -> None:
    expected = trained()
    for rank in ranks:
        assert_same_training(expected, rank["tensor"])


def test_masks_without_addresses_are_the_same_on_ranks_with_different_seeds(ranks: list[dict[str, Any]]) -> None:
    first = ranks[0]["drawn"]
    assert len({tuple(value.flatten().tolist()) for value in first.values()}) == len(first)
    for rank in ranks:
        for name, drawn in first.items():
            assert torch.equal(rank["drawn"][name], drawn), name


def test_a_plain_tensor_does_not_import_dtensor() -> None:
    code = (
        "import sys, torch, thinnet; before = 'torch.distributed.tensor' in sys.modules; "
        "[thinnet.nn.Dropout(0.5)(kind(torch.ones(3, 4))) for kind in (torch.Tensor, torch.nn.Parameter)]; "
        "print(before, 'torch.distributed.tensor' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100).stdout
    assert out.split() == ["False", "False"]
