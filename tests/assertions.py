"""Assertions that several tests share."""

import gc
import math
from collections.abc import Callable

import torch
from scipy import stats
from torch import Tensor

FALSE_ALARM = 1e-9  # the chance that one of these statistical assertions fails by accident


def assert_same_bits(one: Tensor, other: Tensor) -> None:
    """Same shape, dtype, strides and bits; all NaNs are equal."""
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
    assert chance > FALSE_ALARM, f"rate {k / n:.6f} where {p:.6f} is stated; biases above {visible:.1e} are visible"


def assert_mean(draws: Tensor, mean: Tensor, variance: Tensor) -> None:
    """Every column of `draws`, `(T, ...)`, has the stated mean; the columns share the false-alarm level."""
    limit = stats.norm.isf(FALSE_ALARM / 2 / mean.numel()) * (variance / len(draws)).sqrt()
    error = (draws.mean(0) - mean).abs()
    rounding = 1e-5 * mean.abs().max()
    assert bool((error <= limit + rounding).all()), (
        f"means are off by up to {float(error.max()):.2e}; limit {float(limit.max()):.2e}"
    )


def assert_variance(draws: Tensor, mean: Tensor, variance: Tensor) -> None:
    """Every column of `draws` has the stated variance around the stated mean."""
    squares = (draws - mean) ** 2
    limit = stats.norm.isf(FALSE_ALARM / 2 / mean.numel()) * squares.std(0) / math.sqrt(len(draws))
    error = (squares.mean(0) - variance).abs()
    rounding = 1e-4 * variance.max()
    assert bool((error <= limit + rounding).all()), (
        f"variances are off by up to {float(error.max()):.2e}; limit {float(limit.max()):.2e}"
    )


def assert_unbiased(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """Low-precision outputs have the mean of the wide ones, up to a fifth of their unit roundoff.

    A product that is rounded to nearest is off by up to that much on average: 9.9994 x, of p = 0.9, is just below the ties of
    10 x. A scale that is rounded to bfloat16 at p = 0.1 is off by two fifths.
    """
    unit = torch.finfo(pairs[0][0].dtype).eps / 2
    wides = torch.stack([wide.double().abs().sum() for _, wide in pairs])
    errors = torch.stack([((low.double() - wide) * wide.sign()).sum() for low, wide in pairs])
    bias = float(errors.sum() / wides.sum())
    error = float((errors - bias * wides).square().sum().sqrt() / wides.sum())
    limit = unit / 5 + stats.t.isf(FALSE_ALARM / 2, len(pairs) - 1) * error
    assert abs(bias) <= limit, f"bias {bias:.1e} with a standard error of {error:.1e}; limit {limit:.1e}"


def assert_keeps_nothing(work: Callable[[], Tensor], *allowed: Tensor, most: int = 64) -> None:
    """The graph of `work` keeps at most `most` bytes besides its output and what is allowed.

    It counts the tensors that autograd saves, and those that Python sees, as a function may hold tensors of its own.
    """
    saved: dict[int, str] = {}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        _note(tensor, saved, sizes)
        return tensor

    before = _storages()[0].keys()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = work()
    seen, bytes_seen = _storages()
    held, sizes = saved | seen, sizes | bytes_seen
    extra = held.keys() - before - {tensor.untyped_storage().data_ptr() for tensor in (y, *allowed)}
    kept = sum(sizes[storage] for storage in extra)
    assert kept <= most, f"{kept} bytes are kept for backward: {sorted(held[storage] for storage in extra)}"


def _note(tensor: Tensor, shapes: dict[int, str], sizes: dict[int, int]) -> None:
    storage = tensor.untyped_storage()
    shapes[storage.data_ptr()] = f"{tensor.dtype} {tuple(tensor.shape)}"
    sizes[storage.data_ptr()] = storage.nbytes()


def _storages() -> tuple[dict[int, str], dict[int, int]]:
    """Dtype, shape and bytes of the tensors that Python sees, by their storage."""
    shapes: dict[int, str] = {}
    sizes: dict[int, int] = {}
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # these and meta tensors have no memory of their own
    for thing in gc.get_objects():
        if (
            type(thing) in (Tensor, torch.nn.Parameter)
            and thing.layout == torch.strided
            and not (thing.is_meta or wrapped(thing))
        ):
            _note(thing, shapes, sizes)
    return shapes, sizes
