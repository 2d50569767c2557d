"""DropBlock beyond the invariants: the rate on every map, the limits of the block, and the shape of what is dropped."""

import pytest
import torch
from assertions import assert_rate, assert_same_bits

import thinnet
from thinnet import nn
from thinnet.methods.spatial import blocks
from thinnet.methods.spatial.drop_block import DropBlock1d, DropBlock2d, DropBlock3d, drop_block1d, drop_block2d, drop_block3d
from thinnet.rng import rates

MAPS = [
    ((4,), (3,)),
    ((5000,), (100,)),
    ((7, 7), (5, 5)),
    ((8, 8), (7, 7)),
    ((12, 9), (4, 4)),
    ((5, 11), (5, 3)),
    ((56, 56), (7, 7)),
    ((16, 12, 9), (7, 5, 2)),
]


@pytest.mark.parametrize(("sizes", "block"), MAPS, ids=str)
def test_the_rate_is_delivered_on_every_map(sizes: tuple[int, ...], block: tuple[int, ...]) -> None:
    covered = blocks.coverage(sizes, block)
    counted = torch.zeros(sizes)
    for _, positions in blocks.places((1, 1, *sizes), block):
        counted[positions] += 1
    assert torch.equal(covered, counted.double())
    for count in (0, 1, 655, 6554, 32768, 65000, 65535, 65536):
        gamma = blocks.solved(sizes, block, count)
        dropped = float((1 - (1 - gamma) ** covered).mean()) * rates.RESOLUTION
        assert abs(dropped - count) < 0.26 * max(1, covered.max() / 64)  # in 65536ths; the noise has steps of 2^-23
        again, _ = blocks.keep_probability((1, 1, *sizes), count / rates.RESOLUTION, block)
        assert abs(gamma - again) <= 1.01 / blocks.SPACING


@pytest.mark.parametrize("p", [0.3, 0.9, 1.0])
def test_block_one_equals_dropout_and_the_whole_map_equals_spatial_dropout(p: float) -> None:
    for layer, sizes, spatial in (
        (DropBlock1d, (6,), nn.Dropout1d),
        (DropBlock2d, (5, 6), nn.Dropout2d),
        (DropBlock3d, (2, 5, 6), nn.Dropout3d),
    ):
        x = torch.randn(4, 30, *sizes)
        for block, shared, same in ((1, False, nn.Dropout(p)), (sizes, False, spatial(p))):
            torch.manual_seed(1)
            expected = same(x)
            torch.manual_seed(1)
            assert_same_bits(layer(p, block, shared)(x), expected)
        torch.manual_seed(1)
        y = layer(p, sizes, shared=True)(x)
        assert bool(((y == 0).flatten(1).all(1) | (y != 0).flatten(1).all(1)).all())


def test_rows_and_columns_have_shared_axes() -> None:
    x = torch.randn(50, 20, 5, 6)
    rows = drop_block2d(x, 0.3, block=(1, 6), training=True) == 0
    assert torch.equal(rows, rows[..., :1].expand_as(rows))
    assert_rate(rows[..., 0], 19661 / 65536)


def test_seven_by_seven_with_block_seven_has_the_rate() -> None:
    dropped = drop_block2d(torch.ones(1000, 64, 7, 7), 0.1, training=True)[..., 0, 0] == 0
    assert_rate(dropped, rates.count(0.1) / rates.RESOLUTION)


def test_dropped_positions_are_a_union_of_blocks() -> None:
    dropped = drop_block2d(torch.ones(100, 8, 12, 9), 0.2, block=(4, 3), training=True) == 0
    seeds = dropped.unfold(2, 4, 1).unfold(3, 3, 1).flatten(-2).all(-1)
    assert torch.equal(blocks.spread(seeds, (4, 3)), dropped)


def test_channels_drop_their_own_or_shared_blocks() -> None:
    x = torch.ones(50, 8, 12, 9)
    own, same = (drop_block2d(x, 0.2, block=3, shared=shared, training=True) == 0 for shared in (False, True))
    assert torch.equal(same, same[:, :1].expand_as(same))
    assert not torch.equal(own, own[:, :1].expand_as(own))


def test_dropped_values_do_not_leak() -> None:
    y = drop_block1d(torch.full((50, 8, 20), torch.inf), 0.5, block=4, training=True)
    assert bool((y.isinf() | (y == 0)).all()) and bool((y == 0).any())


@pytest.mark.parametrize("p", [0.999, 65535 / 65536])
def test_rates_near_one_stay_finite_in_each_precision(p: float) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = torch.ones(2, 3, 16, 16, dtype=dtype, requires_grad=True)
        y = drop_block2d(x, p, block=7, training=True)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert bool(gradient.isfinite().all())


def test_the_memory_format_is_kept() -> None:
    x = torch.randn(2, 8, 14, 14).to(memory_format=torch.channels_last)
    assert DropBlock2d(0.1)(x).is_contiguous(memory_format=torch.channels_last)


def test_the_transforms_of_torch_func_work() -> None:
    x = torch.randn(3, 2, 9, 9, dtype=torch.float64)

    def seeded(x: torch.Tensor) -> torch.Tensor:
        return drop_block2d(x, 0.3, block=3, training=True, generator=torch.Generator().manual_seed(1))

    y = seeded(x)
    pushed = torch.func.jvp(seeded, (x,), (x,))[1]
    torch.testing.assert_close(pushed, y)  # it is linear
    torch.testing.assert_close(torch.func.grad(lambda x: (seeded(x) * x).sum())(x), 2 * y)
    many = torch.func.vmap(seeded, randomness="same")(torch.stack((x, 2 * x)))
    torch.testing.assert_close(many, torch.stack((y, 2 * y)))


def test_a_schedule_changes_the_rate_under_compile_as_in_eager() -> None:
    model = torch.nn.Sequential(DropBlock2d(0.0, 3))
    rng = thinnet.DropoutRNG(1, {"0": thinnet.schedules.Linear(0.0, 0.4, steps=4)}).bind(model)
    compiled, x = torch.compile(model, backend="aot_eager", fullgraph=True), torch.ones(4, 2, 9, 9)
    for step in range(5):
        rng.at(step)
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("block", [0, -1, 2.0, True, (3,), (3, 0), (1, 2, 3), "7", float("nan")])
def test_a_bad_block_is_refused(block: object) -> None:
    with pytest.raises(ValueError, match=r"^DropBlock2d: block must be a positive integer, or 2 of them; got"):
        DropBlock2d(0.1, block)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^drop_block2d: block must be"):
        drop_block2d(torch.ones(1, 1, 9, 9), block=block, training=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [(5, 5), (5, 14), (1, 9), (1, 1), (0, 5)], ids=str)
def test_a_block_is_cut_to_a_smaller_map_at_the_same_rate(sizes: tuple[int, int]) -> None:
    x, rate = torch.ones(400, 50, *sizes), 0.3
    cut = tuple(min(side, size) for side, size in zip((7, 9), sizes, strict=True))
    torch.manual_seed(1)
    y = DropBlock2d(rate, (7, 9))(x)
    if x.numel():
        torch.manual_seed(1)
        assert_same_bits(y, DropBlock2d(rate, cut)(x))
        assert abs(float((y == 0).double().mean()) - rate) < 0.02
        torch.testing.assert_close(y.mean(dim=(0, 1)), torch.ones(sizes), rtol=0, atol=0.05)
    assert y.shape == x.shape


def test_a_map_of_other_dimensions_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^drop_block3d: x must be \(N, C, D, H, W\); got shape \(3, 4, 5, 6\)\. Add"):
        drop_block3d(torch.ones(3, 4, 5, 6), block=2, training=True)
