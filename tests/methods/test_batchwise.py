"""Batchwise dropout: groups, counts, and the covariance of two units."""

import pytest
import torch
from assertions import FALSE_ALARM
from scipy import stats

import thinnet
from thinnet.functional import batchwise_dropout
from thinnet.methods.elementwise.batchwise_dropout import covariance
from thinnet.methods.elementwise.kept import width_of
from thinnet.nn import BatchwiseDropout


@pytest.mark.parametrize("count", ["fixed", "bernoulli"])
@pytest.mark.parametrize(("p", "units"), [(0.5, 12), (0.3, 7), (0.8, 5), (0.05, 3)])
def test_two_units_of_a_sample_have_the_stated_covariance(p: float, units: int, count: str) -> None:
    draws = 20_000
    y = batchwise_dropout(torch.ones(draws, units).double(), p, groups=draws, count=count, training=True)
    products = ((y.sum(1) ** 2 - (y * y).sum(1)) / (units * (units - 1))) - 1  # over all pairs; the mean of a unit is 1
    stated = covariance(thinnet.rng.rates.count(p) / 65536, units, count)
    limit = float(stats.norm.isf(FALSE_ALARM / 2)) * float(products.std()) / draws**0.5
    assert abs(float(products.mean()) - stated) <= limit + 1e-4, (float(products.mean()), stated, limit)


def test_a_fixed_count_is_a_neighbour_of_its_mean() -> None:
    for units, counts in ((10, {7, 8}), (12, {9})):
        kept = batchwise_dropout(torch.ones(200, units), 0.25, groups=200, training=True) != 0
        assert set(kept.sum(1).tolist()) == counts


def test_groups_are_contiguous_and_nearly_equal() -> None:
    y = batchwise_dropout(torch.ones(7, 64), 0.5, groups=3, training=True) != 0
    masks = [tuple(row.tolist()) for row in y]
    assert masks[0] == masks[1] and masks[2] == masks[3] and masks[4] == masks[5] == masks[6]
    assert len(set(masks)) == 3
    assert len({tuple(row.tolist()) for row in batchwise_dropout(torch.ones(2, 64), groups=9, training=True)}) == 2


def test_units_may_be_in_another_axis() -> None:
    y = batchwise_dropout(torch.ones(3, 8, 5, 5), 0.5, axis=1, training=True)
    assert torch.equal(y, y[:1, :, :1, :1].expand_as(y)) and int((y[0, :, 0, 0] != 0).sum()) == 4


def test_widths_waste_at_most_a_sixteenth() -> None:
    for units in (1, 2, 10, 64, 100, 784, 1000, 1024, 4096):
        for p in (0.0, 0.1, 0.25, 0.5, 0.9):
            kept, width = units * (1 - thinnet.rng.rates.count(p) / 65536), width_of(units, p)
            assert kept <= width <= min(units, kept + 1 + units / 16)


def test_dropped_infinite_units_become_zero() -> None:
    y = batchwise_dropout(torch.full((2, 9), torch.inf), 0.5, training=True)
    assert bool(((y == torch.inf) | (y == 0)).all()) and bool((y == 0).any())


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"BatchwiseDropout: groups must be a positive integer; got 0\. 1 is one mask"):
        BatchwiseDropout(groups=0)
    with pytest.raises(ValueError, match=r'batchwise_dropout: count must be "fixed" or "bernoulli"; got 8'):
        batchwise_dropout(torch.ones(2, 2), count=8, training=True)  # type: ignore[arg-type]
    for axis in (0, 2, -3):
        with pytest.raises(ValueError, match="axis must be an axis of x after the first"):
            batchwise_dropout(torch.ones(2, 2), axis=axis, training=True)
