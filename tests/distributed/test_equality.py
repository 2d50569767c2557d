"""1 process = 2 = 4 = 8: masks, outputs, gradients and weights of a small GPT, in each way to train on several devices."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpt
import pytest
import torch
from gpt import COUNTS, HALF
from processes import python

Seen = dict[str, Any]
TIMEOUT = 240
CLOSE = {"rtol": 1e-4, "atol": 2e-6}  # float32 sums in another order, also after ten steps
WAYS = {
    "data": "data parallel DDP",
    "fsdp": "fully sharded FSDP2",
    "tensor": "tensor parallel",
    "sequence": "sequence parallel",
    "pipeline": "pipeline",
    "contiguous": "context parallel contiguous",
    "zigzag": "context parallel zigzag",
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], list[Seen]]:
    """What each rank has seen, for a way of training and a number of ranks."""
    folder = tmp_path_factory.mktemp("equality")
    process = python(Path(__file__).with_name("equality_worker.py"), folder)
    try:
        out, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise AssertionError(f"the ranks took more than {TIMEOUT} s\n{process.communicate(timeout=45)[0]}") from None
    assert process.returncode == 0, out
    files = {ranks: [torch.load(folder / f"{ranks}-{rank}.pt") for rank in range(ranks)] for ranks in COUNTS}
    return lambda way, ranks: [rank[way] for rank in files[ranks]]


@pytest.fixture(scope="module")
def expected() -> dict[str, Seen]:
    """What one process has seen."""
    layers = dict.fromkeys((*WAYS, "saved", "resumed"), gpt.LAYERS) | {"pipeline": gpt.STAGES}
    of = {count: gpt.reference(count) for count in {*layers.values()}}
    return {way: of[count] for way, count in layers.items()}


def cut(rank: Seen, site: str, row: torch.Tensor) -> torch.Tensor:
    """The part of the mask of a sample that a rank has."""
    name = site.removesuffix(" backward")
    found = [where for end, where in rank.get("cuts", {}).items() if name.endswith(end)]
    return row.index_select(*found[0]) if found else row


def assert_same_masks(ranks: list[Seen], expected: Seen, steps: range) -> None:
    """Bit for bit; and together the ranks have seen each unit."""
    whole = {key: rows for key, rows in expected["masks"].items() if key[0] in steps}
    unseen = {key: {id: torch.ones(row.shape).flatten() for id, row in rows.items()} for key, rows in whole.items()}
    for rank in ranks:
        assert rank["masks"]
        for (step, site), rows in rank["masks"].items():
            for id, row in rows.items():
                mask = whole[step, site][id]
                assert torch.equal(row, cut(rank, site, mask)), (step, site, id)
                units = torch.arange(mask.numel()).view(mask.shape)
                unseen[step, site][id][cut(rank, site, units).flatten()] = 0
    assert not any(left.any() for rows in unseen.values() for left in rows.values())


def assert_close(ranks: list[Seen], expected: Seen, what: str) -> None:
    """To rounding; and together the ranks have all of them."""
    assert {name for rank in ranks for name in rank[what]} == {*expected[what]}
    for rank in ranks:
        for name, found in rank[what].items():
            whole = expected[what][name]
            part = whole[rank["positions"]] if what == "logits" and "positions" in rank else whole
            torch.testing.assert_close(found, part, **CLOSE, msg=lambda text, name=name: f"{what} {name}: {text}")


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("way", WAYS)
def test_ranks_have_the_masks_and_the_numbers_of_one_process(way: str, count: int, seen: Any, expected: Any) -> None:
    ranks = seen(way, count)
    assert_same_masks(ranks, expected[way], range(gpt.STEPS))
    for what in ("logits", "gradients", "weights"):
        assert_close(ranks, expected[way], what)


def test_a_run_saved_on_8_ranks_and_resumed_on_2_is_the_run_of_one_process(seen: Any, expected: Any) -> None:
    assert_same_masks(seen("saved", COUNTS[0]), expected["saved"], range(HALF))
    ranks = seen("resumed", COUNTS[-1])
    assert_same_masks(ranks, expected["resumed"], range(HALF, gpt.STEPS))
    assert_close(ranks, expected["resumed"], "weights")


def test_the_masks_depend_on_the_step_the_sample_and_the_site(expected: Any) -> None:
    rows = [row.flatten() for (_, site), rows in expected["data"]["masks"].items() if site == "drop" for row in rows.values()]
    assert len({tuple(row.tolist()) for row in rows}) == len(rows) == gpt.STEPS * gpt.BATCH
    shared = [
        torch.equal(a, b)
        for (_, site), rows in expected["data"]["masks"].items()
        if site == "layers.0.attention_drop"
        for a, b in zip(rows.values(), expected["data"]["masks"][_, "layers.1.attention_drop"].values(), strict=True)
    ]
    assert shared and not any(shared)


def test_the_page_lists_the_ways_the_ranks_and_the_tolerance_of_this_file() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
    rows = [line.strip("| ").split(" | ")[:4] for line in page.splitlines() if line.startswith("| ") and "| equal |" in line]
    counts, close = ", ".join(map(str, sorted(COUNTS))), f"{CLOSE['rtol']:.0e}".replace("e-0", "e-")
    assert [row[0].replace(",", "").split() for row in rows[:-1]] == [title.split() for title in WAYS.values()]
    assert all(row[1:] == [counts, "equal", close] for row in rows[:-1])
    assert rows[-1] == ["saved on 8 ranks, resumed on 2", "8, 2", "equal", close]
