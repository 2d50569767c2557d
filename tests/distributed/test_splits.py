"""Any split, order and thread count of a batch gives the same masks, and the same weights to rounding."""

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from training import SAMPLES, assert_same_training, build, data, trained

import thinnet


def shuffled(ids: Tensor) -> list[Tensor]:
    return [ids[torch.randperm(len(ids))]]


PARTS = {
    "two of 32": lambda ids: ids.split(32),
    "64 of 1": lambda ids: ids.split(1),
    "a smaller last one": lambda ids: ids.split(24),
    "in another order": shuffled,
    "in another order and cut": lambda ids: shuffled(ids)[0].split(13),
}


@pytest.fixture(scope="module")
def expected():
    return trained()


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS.keys())
def test_a_batch_may_be_cut_and_permuted(parts: Callable[[Tensor], Iterable[Tensor]], expected) -> None:
    assert_same_training(expected, trained(parts))


def test_the_comparison_sees_a_single_other_id(expected) -> None:
    def wrong(ids: Tensor) -> list[Tensor]:
        return [torch.cat((ids[1:], (ids[:1] + 1) % SAMPLES))]

    with pytest.raises(AssertionError):
        assert_same_training(expected, trained(wrong))


def test_ids_may_lie_in_memory_in_any_way() -> None:
    layer, x = thinnet.nn.Dropout(0.5), torch.randn(4, 300)
    rng, ids = thinnet.DropoutRNG(1).bind(layer), torch.tensor([9, 4, 7, 7, 2, 1, 5, 3])
    for view in (ids[1::2], ids.reshape(4, 2)[:, 1], ids.flip(0)[:4], ids[2:3].expand(4), ids[:4].to(torch.int32)):
        apart = [rng.at(0, view[i : i + 1]) and layer(x[i : i + 1]) for i in range(4)]
        rng.at(0, view)
        assert torch.equal(layer(x), torch.cat(apart))


def test_ids_may_be_overwritten_before_the_backward_pass() -> None:
    layer, ids, x = thinnet.nn.Dropout(0.5), torch.arange(4), torch.ones(4, 300, requires_grad=True)
    thinnet.DropoutRNG(1).bind(layer).at(0, ids)
    y = layer(x)
    ids += 10
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y.detach())


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_matter(threads: int, expected) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same_training(expected, trained())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("method", [thinnet.nn.Dropout, thinnet.nn.AlphaDropout])
def test_dtypes_have_the_same_mask(method: type[nn.Module]) -> None:
    layer = method(0.3)
    thinnet.DropoutRNG(1).bind(layer).at(5, torch.tensor([8, 3, 12]))
    x, changed = torch.full((3, 5000), 2.0), []
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        y = layer(x.to(dtype))
        changed.append(y == y.min())
    assert all(torch.equal(mask, changed[0]) for mask in changed) and 0 < int(changed[0].sum()) < x.numel()


class Numbered(Dataset[tuple[int, Tensor]]):
    """Samples with their ids."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        return index, data()[0][index]


def epoch(workers: int, seed: int) -> Tensor:
    """The output for each sample at one step, from a loader with its own order; the last batch is smaller."""
    model, found = build(), torch.full((SAMPLES, 3), torch.nan, dtype=torch.float64)
    rng = thinnet.DropoutRNG(2).bind(model)
    order = torch.Generator().manual_seed(seed)
    for ids, x in DataLoader(
        Numbered(), batch_size=60, shuffle=True, generator=order, num_workers=workers, timeout=60 * (workers > 0)
    ):
        rng.at(3, ids)
        found[ids] = model(x).detach()
    return found


def test_loaders_with_workers_and_in_another_order() -> None:
    expected = epoch(workers=0, seed=1)
    assert not bool(expected.isnan().any())
    torch.testing.assert_close(epoch(workers=4, seed=1), expected, rtol=0, atol=0)
    torch.testing.assert_close(epoch(workers=0, seed=2), expected, rtol=1e-12, atol=1e-12)
