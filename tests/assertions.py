"""Assertions that several tests share. Each asserts and returns nothing."""

import gc
import math
from collections.abc import Callable

import torch
from scipy import stats
from torch import Tensor

FALSE_ALARM = 1e-9  # the chance that one of these statistical assertions fails though the law holds


def assert_same_bits(one: Tensor, other: Tensor) -> None:
    """Same shape, dtype, strides and bits; all NaNs are one."""
    assert one.dtype == other.dtype, (one.dtype, other.dtype)
    assert one.shape == other.shape, (one.shape, other.shape)
    assert one.stride() == other.stride(), (one.stride(), other.stride())
    one, other = (torch.view_as_real(t) if t.is_complex() else t for t in (one, other))
    same = (one == other) & (one.signbit() == other.signbit()) | (one.isnan() & other.isnan())
    assert bool(same.all()), f"{int((~same).sum())} of {same.numel()} elements differ"


def assert_rate(dropped: Tensor, p: float) -> None:
    """The number of dropped units is binomial; `dropped` has one element a unit."""
    n, k = dropped.numel(), int(dropped.sum())
    visible = stats.norm.isf(FALSE_ALARM / 2) * math.sqrt(p * (1 - p) / n)
    chance = stats.binomtest(k, n, p).pvalue
    assert chance > FALSE_ALARM, f"rate {k / n:.6f} where {p:.6f} is declared; biases above {visible:.1e} show"


def assert_mean(draws: Tensor, mean: Tensor, variance: Tensor) -> None:
    """Every column of `draws`, `(T, ...)`, has the declared mean; the columns share the false-alarm level."""
    limit = stats.norm.isf(FALSE_ALARM / 2 / mean.numel()) * (variance / len(draws)).sqrt()
    error = (draws.mean(0) - mean).abs()
    rounding = 1e-5 * mean.abs().max()
    assert bool((error <= limit + rounding).all()), (
        f"means are off by up to {float(error.max()):.2e}; limit {float(limit.max()):.2e}"
    )


def assert_variance(draws: Tensor, mean: Tensor, variance: Tensor) -> None:
    """Every column of `draws` has the declared variance around the declared mean."""
    squares = (draws - mean) ** 2
    limit = stats.norm.isf(FALSE_ALARM / 2 / mean.numel()) * squares.std(0) / math.sqrt(len(draws))
    error = (squares.mean(0) - variance).abs()
    rounding = 1e-4 * variance.max()
    assert bool((error <= limit + rounding).all()), (
        f"variances are off by up to {float(error.max()):.2e}; limit {float(limit.max()):.2e}"
    )


def assert_keeps_nothing(work: Callable[[], Tensor], *allowed: Tensor, most: int = 64) -> None:
    """The graph that `work` leaves holds no more than `most` bytes beside its output and what is allowed.

    Counted are the tensors that autograd saves and, since a function may hold tensors of its own, those that Python sees.
    """
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    before = _storages()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = work()
    held = saved | _storages()
    extra = held.keys() - before.keys() - {tensor.untyped_storage().data_ptr() for tensor in (y, *allowed)}
    kept = sum(held[storage] for storage in extra)
    assert kept <= most, f"{kept} bytes are kept for backward"


def _storages() -> dict[int, int]:
    tensors = (thing for thing in gc.get_objects() if type(thing) in (Tensor, torch.nn.Parameter))
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # they have no memory of their own
    stores = (tensor.untyped_storage() for tensor in tensors if tensor.layout == torch.strided and not wrapped(tensor))
    return {store.data_ptr(): store.nbytes() for store in stores}
