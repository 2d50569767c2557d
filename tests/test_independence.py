"""Masks with different addresses are independent: properties that two published seeding schemes break, and ours keep.

The tests count agreements of masks at rate 1/2, so Hoeffding's bound gives exact limits. Each test fails by chance with a
probability of at most `FALSE_ALARM`, for any number of pairs.
"""

import math
from collections.abc import Callable

import pytest
import torch
from assertions import FALSE_ALARM
from scipy import stats
from torch import Tensor

import thinnet
from thinnet.ops import reference

ROWS, COLUMNS = 256, 1024
SITES, STEPS = range(42, 46), range(5)


def hoeffding(pairs: int, tests: int) -> float:
    """How far the number of agreements among independent pairs may be from half of them."""
    return math.sqrt(pairs * math.log(2 * tests / FALSE_ALARM) / 2)


def assert_rows_differ(kept: Tensor) -> None:
    """A mask at rate 1/2 does not repeat every k rows, for any k: rows so far apart agree in half of their elements."""
    rows, columns = kept.shape
    for k in range(1, rows):
        pairs = (rows - k) * columns
        excess = abs(int((kept[k:] == kept[:-k]).sum()) - pairs / 2)
        assert excess <= hoeffding(pairs, rows - 1), f"rows that are {k} apart agree in {0.5 + excess / pairs:.3f} of the mask"


def assert_neighbouring_sites_differ(mask: Callable[[int, int], Tensor]) -> None:
    """No two masks at rate 1/2, of neighbouring sites or steps, agree in more or less than half of their elements."""
    masks = [((site, step), mask(site, step).flatten()) for site in SITES for step in STEPS]
    tests = len(masks) * (len(masks) - 1) // 2
    for i, (name, kept) in enumerate(masks):
        for other, there in masks[i + 1 :]:
            share = float((kept == there).double().mean())
            limit = hoeffding(kept.numel(), tests) / kept.numel()
            assert abs(share - 0.5) <= limit, f"(site, step) {name} and {other} agree in {share:.3f} of the mask"


def repeating_rows(seed: int) -> Tensor:
    """xformers' scheme until 2024: a seed for each block of 64 columns, and offsets that do not count the tile of 32 rows."""
    blocks = [torch.rand(32, 64, generator=torch.Generator().manual_seed(seed + block)) for block in range(COLUMNS // 64)]
    return torch.cat(blocks, dim=1).repeat(ROWS // 32, 1) > 0.5


def added_seeds(site: int, step: int) -> Tensor:
    """Keras' scheme on its torch backend: the seed of a call is the seed of the layer plus a counter of calls."""
    return torch.rand(ROWS, generator=torch.Generator().manual_seed(site + step)) > 0.5


def kept(layer: torch.nn.Module, *shape: int) -> Tensor:
    return layer(torch.ones(shape)) != 0


def named_sites(site: int, step: int) -> Tensor:
    """Sites of one model, whose names differ in their last letter."""
    model = torch.nn.ModuleDict({str(number): thinnet.nn.Dropout(0.5) for number in SITES})
    thinnet.DropoutRNG(0).bind(model).at(step)
    return kept(model[str(site)], 4, ROWS)


def named_seeds(seed: int, step: int) -> Tensor:
    """One site in models with neighbouring seeds."""
    layer = thinnet.nn.Dropout(0.5)
    thinnet.DropoutRNG(seed).bind(layer).at(step)
    return kept(layer, 4, ROWS)


def drawn_seeds(seed: int, step: int) -> Tensor:
    """Masks without addresses, by the calls after `torch.manual_seed` of neighbouring seeds."""
    torch.manual_seed(seed)
    return [kept(thinnet.nn.Dropout(0.5), 4, ROWS) for _ in range(step + 1)][-1]


@pytest.mark.parametrize("samples", [None, torch.arange(ROWS)], ids=["one sample", "a sample each row"])
def test_rows_differ(samples: Tensor | None) -> None:
    layer = thinnet.nn.Dropout(0.5)
    rng = thinnet.DropoutRNG(3).bind(layer).at(0, samples)
    assert_rows_differ(kept(layer, ROWS, COLUMNS))
    rng.unbind()
    assert_rows_differ(kept(layer, ROWS, COLUMNS))


def test_the_test_of_rows_detects_a_mask_that_repeats() -> None:
    with pytest.raises(AssertionError, match=r"rows that are 32 apart agree in 1\.000"):
        assert_rows_differ(repeating_rows(3))


@pytest.mark.parametrize("scheme", [named_sites, named_seeds, drawn_seeds])
def test_neighbouring_sites_differ(scheme: Callable[[int, int], Tensor]) -> None:
    assert_neighbouring_sites_differ(scheme)


def test_the_test_of_sites_detects_added_seeds() -> None:
    with pytest.raises(AssertionError, match=r"\(42, 1\) and \(43, 0\) agree in 1\.000"):
        assert_neighbouring_sites_differ(added_seeds)


def grid(coordinate: str, seed: int) -> Tensor:
    """Ten million times 16 random bits, whose rows are neighbours along one coordinate."""
    names = {"seed": seed, "step": 3, "site": 77, "sample": 5}
    walk = torch.arange(10_000)
    if coordinate == "sample":
        return reference.unit_bits(*(torch.tensor(names[name]) for name in ("seed", "step", "site")), walk, 1000)
    if coordinate == "unit":
        return grid("sample", seed).T
    rows = []
    for i in range(1000):
        where = {name: torch.tensor(value + i * (name == coordinate)) for name, value in names.items()}
        rows.append(
            reference.unit_bits(where["seed"], where["step"], where["site"], where["sample"] + walk[:10], 1000).flatten()
        )
    return torch.stack(rows)


def assert_neighbours_are_not_correlated(drawn: Tensor) -> None:
    """The bits of a unit and of the next row, as numbers and bit by bit: 257 z-values that share the false alarm."""
    one, other = drawn[:-1].flatten(), drawn[1:].flatten()
    centred = [side.double() - 32767.5 for side in (one, other)]
    z = abs(float(torch.dot(*centred))) * 12 / (65536**2 - 1) / len(one) ** 0.5
    bits = torch.zeros(16, 16, dtype=torch.float64)
    for a, b in zip(one.split(1 << 18), other.split(1 << 18), strict=True):
        signs = [(((side[:, None] >> torch.arange(16)) & 1) * 2 - 1).float() for side in (a, b)]  # sums below 2^24 are exact
        bits += (signs[0].T @ signs[1]).double()
    worst = max(z, float(bits.abs().max()) / len(one) ** 0.5)
    assert worst < stats.norm.isf(FALSE_ALARM / 2 / 257), f"neighbours are correlated: {worst:.1f} sigma"


@pytest.mark.parametrize("coordinate", ["unit", "sample", "step", "site", "seed"])
def test_neighbours_are_not_correlated_along(coordinate: str, seed: int) -> None:
    assert_neighbours_are_not_correlated(grid(coordinate, seed))


def test_the_test_of_neighbours_detects_one_leaking_bit_in_one_unit_of_a_hundred() -> None:
    drawn = grid("step", 1)
    drawn[1:, ::100] = (drawn[1:, ::100] & ~8) | ((drawn[:-1, ::100] >> 9) & 1) << 3
    with pytest.raises(AssertionError, match="sigma"):
        assert_neighbours_are_not_correlated(drawn)
