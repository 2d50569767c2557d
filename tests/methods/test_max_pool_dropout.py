"""Max-pooling dropout beyond the invariants: training equals PyTorch's pooling of kept units, eval its expectation."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from assertions import assert_rate, assert_same_bits

from thinnet.methods.elementwise.dropout import dropout
from thinnet.methods.spatial.max_pool_dropout import (
    MaxPoolDropout1d,
    MaxPoolDropout2d,
    max_pool_dropout1d,
    max_pool_dropout2d,
)
from thinnet.rng import rates

POOLS = [dict(kernel_size=2), dict(kernel_size=3, stride=1), dict(kernel_size=3, stride=2, padding=1)]


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("lift", [0.0, 3.0, -3.0])
def test_eval_equals_the_mean_over_all_masks(pool: dict[str, int], lift: float) -> None:
    x, p = torch.randn(1, 1, 3, 3, dtype=torch.float64) + lift, rates.count(0.3) / rates.RESOLUTION
    total = 0
    for mask in itertools.product((0, 1), repeat=9):
        kept = torch.tensor(mask).reshape(x.shape)
        total = total + (1 - p) ** sum(mask) * p ** (9 - sum(mask)) * F.max_pool2d(x * kept, **pool)
    torch.testing.assert_close(max_pool_dropout2d(x, 0.3, **pool, training=False), total, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_training_equals_pytorchs_pooling_of_kept_units(pool: dict[str, int]) -> None:
    for x, layer, pooled in (
        (torch.randn(4, 3, 20), MaxPoolDropout1d, F.max_pool1d),
        (torch.randn(4, 3, 8, 9), MaxPoolDropout2d, F.max_pool2d),
    ):
        torch.manual_seed(1)
        y = layer(0.4, **pool)(x)
        torch.manual_seed(1)
        kept = dropout(torch.ones_like(x), 0.4, training=True) != 0
        torch.testing.assert_close(y, pooled(torch.where(kept, x, 0), **pool))
        assert_same_bits(layer(0.0, **pool)(x), pooled(x, **pool))


def test_each_value_is_the_maximum_with_its_probability() -> None:
    x, p = torch.arange(1.0, 5.0).expand(100_000, 1, 4), rates.count(0.4) / rates.RESOLUTION
    y = max_pool_dropout1d(x, 0.4, kernel_size=4, training=True).round()
    for i in range(1, 5):
        assert_rate(y == i, (1 - p) * p ** (4 - i))
    assert_rate(y == 0, p**4)


def test_nothing_overflows_and_nothing_leaks() -> None:
    y = max_pool_dropout2d(torch.full((8, 8, 8, 8), 60_000.0, dtype=torch.float16), 0.9, training=True)
    assert bool(y.isfinite().all())
    y = max_pool_dropout2d(torch.full((8, 8, 8, 8), torch.inf), 0.9, training=True)
    assert bool(((y == 0) | y.isinf()).all()) and bool((y == 0).any())


def test_eval_has_the_gradient_of_the_expectation() -> None:
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(MaxPoolDropout2d(0.3, 3, 2, 1).double().eval(), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_eval_keeps_the_type(dtype: torch.dtype) -> None:
    x = torch.rand(2, 2, 6, 6).to(dtype)
    y = MaxPoolDropout2d(0.3).eval()(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), MaxPoolDropout2d(0.3).eval()(x.double()), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding"])
@pytest.mark.parametrize("value", [-1, 1.5, True, (2,), "2"])
def test_bad_sizes_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^MaxPoolDropout2d: {name} must be an integer from \d up, or 2 of them; got "):
        MaxPoolDropout2d(0.5, **{name: value})  # type: ignore[arg-type]


def test_too_much_padding_and_other_axes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^max_pool_dropout1d: padding must be at most half of kernel_size \(3,\); got"):
        max_pool_dropout1d(torch.ones(1, 1, 9), kernel_size=3, padding=2, training=False)
    with pytest.raises(ValueError, match=r"^MaxPoolDropout2d: x must be \(N, C, H, W\); got shape \(3, 4, 4\)"):
        MaxPoolDropout2d()(torch.ones(3, 4, 4))
