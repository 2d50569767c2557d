"""What several methods share in numbers: the precision of noise, the memory format of a result, and whole parts of a count."""

import math
from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor


def real(value: object) -> float:
    """Returns a real number as a float, and NaN, which lies in no range, for anything else.

    >>> real(torch.tensor(2)), real(None), real(True)
    (2.0, nan, nan)
    """
    if type(value) is float or type(value) is int:
        return value
    if isinstance(value, (bool, str, bytes)) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool"):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return math.nan


def wide(x: Tensor) -> torch.dtype:
    """Returns the dtype of computations for `x`: float64 if it has that precision, else float32.

    >>> wide(torch.ones(1, dtype=torch.bfloat16))
    torch.float32
    """
    return torch.float64 if x.dtype in (torch.float64, torch.complex128) else torch.float32


def times(x: Tensor, factor: Tensor) -> Tensor:
    """Returns `x` times noise of a wider precision, rounded once, to the dtype of `x`.

    >>> times(torch.ones(1, dtype=torch.bfloat16) * 9, torch.tensor([1 / 0.9]))
    tensor([10.], dtype=torch.bfloat16)
    """
    return (x * factor).to(x.dtype)


def weighted(weight: float | Tensor, value: Tensor) -> Tensor:
    """Returns `weight * value` in at least float32, and 0 where the weight is 0, also for infinite values.

    >>> weighted(0.0, torch.tensor([torch.inf]))
    tensor([0.])
    """
    product = weight * value.to(torch.promote_types(value.dtype, torch.float32))
    return torch.where(torch.as_tensor(weight) != 0, product, 0)


def in_format_of(x: Tensor, y: Tensor) -> Tensor:
    """Returns `y` in the memory format of `x`, which has the same shape.

    >>> x = torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last)
    >>> in_format_of(x, torch.zeros(2, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)
    True
    """
    if x.is_contiguous() or x.stride() == y.stride():
        return y
    order, back = axes_in_memory(torch.empty_like(x, device="meta", requires_grad=False))
    return y.permute(order).contiguous().permute(back)


def axes_in_memory(x: Tensor) -> tuple[list[int], list[int]]:
    """Returns the axes of `x` from the outermost in memory to the innermost, and the permutation that takes them back.

    >>> axes_in_memory(torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last))
    ([0, 2, 3, 1], [0, 3, 1, 2])
    """
    order = sorted(range(x.ndim), key=lambda axis: -x.stride(axis))
    return order, [order.index(axis) for axis in range(x.ndim)]


def sum_of_squares(run: Callable[[Tensor, Tensor], Tensor], x: Tensor, weights: Tensor) -> Tensor:
    """Returns `run(x * x, weights)` in at least float32, for a layer `run` that sums these products.

    The squares of float16 numbers leave its range, so there the layer runs in float32.

    >>> x = torch.full((1, 1), 1000.0, dtype=torch.float16)
    >>> sum_of_squares(torch.nn.functional.linear, x, torch.full((1, 1), 1e-6))
    tensor([[1.]])
    """
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    if dtype != torch.float16:
        return run(x.square(), weights.to(x.dtype)).to(wide(x))
    with torch.autocast(device, enabled=False):
        return run(x.to(wide(x)).square(), weights.to(wide(x)))


def part_of(count: int, share: float, nearest: bool = False) -> int:
    """Returns `share` of a count, rounded down to a whole number, or to the nearest one, halves up.

    A share stands for the nearest fraction with a denominator of at most 100 000: 0.29 of 100 is 29, and not the
    28.999999999999996 of floating point. The count may be a symbol of the compiler.

    >>> part_of(100, 0.29), part_of(3, 2 / 3), part_of(5, 0.7), part_of(5, 0.7, nearest=True)
    (29, 2, 3, 4)
    """
    ratio = Fraction(share).limit_denominator(100_000)
    numerator, denominator = ratio.numerator, ratio.denominator
    whole = int(count) if isinstance(count, Tensor) else count  # torch.jit.trace makes tensors of sizes
    return (2 * whole * numerator + denominator) // (2 * denominator) if nearest else whole * numerator // denominator
