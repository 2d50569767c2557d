"""The kernel that selects kept units gives those of a stable sort, bit for bit."""

import pytest
import torch

from thinnet.methods.elementwise.kept import keep
from thinnet.ops import kept, schema
from thinnet.rng import NoiseKey, rates


def numbers_of(groups: int, units: int, values: int) -> torch.Tensor:
    """Odd multiples of 2^-24, from few values if there shall be equal ones."""
    return (torch.randint(0, values, (groups, units + 1)) * 2 + 1) * (2.0**-24 if values == 2**23 else 0.5 / values)


@pytest.mark.skipif(schema.missing is not None, reason="there are no compiled kernels")
@pytest.mark.parametrize("values", [2**23, 4, 1])
@pytest.mark.parametrize(("units", "width", "whole"), [(1024, 512, 512), (1000, 512, 499), (1, 1, 0), (37, 37, 30), (5, 0, 0)])
def test_the_smallest_units_are_those_of_a_stable_sort(units: int, width: int, whole: int, values: int) -> None:
    torch.manual_seed(0)
    for more in (0.0, 0.25, 1 - 2.0**-16):
        numbers = numbers_of(3, units, values)
        ours, theirs = kept.smallest(numbers, width, whole, more), kept.in_order(numbers, width, whole, more)
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
        assert ours[0].dtype == torch.int64 and ours[1].dtype == torch.bool


def test_a_group_keeps_the_expected_number_of_ascending_units() -> None:
    key = NoiseKey("test", torch.tensor(rates.count(0.3), dtype=torch.int32), torch.tensor(5))
    found = keep(key, 8, 1001, 0.3, 4, "fixed")
    assert found.live is not None and bool((found.units.diff(dim=1) > 0).all())
    assert set(found.live.sum(1).tolist()) <= {700, 701}
    assert all(bool((keep(key, 8, 1001, 0.3, groups, "bernoulli").units.diff(dim=1) > 0).all()) for groups in (1, 4))
    alone = keep(key, 8, 1001, 0.3, 1, "fixed")  # one group needs no unit that fills a width
    assert alone.live is None and torch.equal(alone.units[0], found.units[0][found.live[0]])


def test_what_is_no_row_of_numbers_is_refused() -> None:
    if schema.missing is None:
        with pytest.raises(RuntimeError, match="numbers must be contiguous float32"):
            kept.smallest(torch.ones(2, 3, dtype=torch.float64), 1, 1, 0.0)
        with pytest.raises(RuntimeError, match="width must be at most"):
            kept.smallest(torch.ones(2, 3), 3, 1, 0.0)
