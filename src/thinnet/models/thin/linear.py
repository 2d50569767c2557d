"""A linear layer on a part of its inputs and outputs, as one step of autograd.

y = s x W[rows, columns]^T + b[rows]. Forward keeps x alone, and backward takes the part of the weights again. A large part
is computed in blocks of rows, which reuse memory: the allocator gives large tensors new pages each time, and those cost more
than the skipped products save.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from thinnet.ops import schema
from thinnet.ops.compact import CompactGradient, Part, is_requested
from thinnet.ops.take import put, take

LARGE, BLOCK = 2**23, 2**22
"""A part of more bytes than LARGE is computed in blocks of about BLOCK bytes."""


def in_one_step(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Returns whether plain code runs on dense tensors of one dtype, which `linear` needs."""
    if torch.compiler.is_compiling() or torch._C._is_tracing() or schema.transformed():
        return False
    if torch.is_autocast_enabled(x.device.type) or torch._C._len_torch_dispatch_stack():
        return False
    plain = all(type(each) in (Tensor, torch.nn.Parameter) for each in (x, weight, bias) if each is not None)
    return plain and x.dtype == weight.dtype and (bias is None or bias.dtype == x.dtype) and x.ndim > 1


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor | None, columns: Tensor | None, scale: float) -> Tensor:
    """Returns `scale * x @ weight[rows, columns].T + bias[rows]`.

    Args:
        x: `(..., some inputs)`.
        weight: `(outputs, inputs)`.
        bias: `(outputs,)`, or None.
        rows: `(1, some)`, the outputs to compute, ascending; all of them where it is None.
        columns: `(1, some)`, the inputs in `x`; all of them where it is None.
        scale: a factor.
    """
    return _Linear.apply(x, weight, bias, rows, columns, scale)  # type: ignore[return-value]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.rest = rest
        rows, columns, scale = rest
        outputs, flat = len(weight) if rows is None else rows.shape[1], x.flatten(0, -2)
        y = x.new_empty(*x.shape[:-1], outputs)  # no view, which nobody could change in place
        added = y.new_empty(()).expand(outputs) if bias is None else bias if rows is None else take(bias, rows, None)[0]
        rows, size = _placed(weight, rows, columns)
        for some, out, more in _blocks(size, rows, y.flatten(0, -2), added):
            torch.addmm(more, flat, take(weight, some, columns)[0].T, beta=bias is not None, alpha=scale, out=out)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        (x, weight, bias), (rows, columns, scale) = ctx.saved_tensors, ctx.rest
        if torch.is_grad_enabled():  # somebody differentiates the gradient
            return *_differentiable(ctx, gradients[0]), None, None, None
        gradient, flat = gradients[0].flatten(0, -2), x.flatten(0, -2)
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            places, size = _placed(weight, rows, columns)
            (some, piece), *others = _blocks(size, places, gradient)
            to_x = _product(piece, take(weight, some, columns)[0], scale)
            for some, piece in others:
                to_x.addmm_(piece, take(weight, some, columns)[0], alpha=scale)
            to_x = to_x.view(x.shape)
        if ctx.needs_input_grad[1]:
            if is_requested(weight):
                part = _product(gradient.T, flat, scale)[None]
                to_weight = CompactGradient(Part(part, rows, columns, weight.shape))
            else:
                to_weight = _full_gradient(gradient, flat, weight, rows, columns, scale)
        if ctx.needs_input_grad[2]:
            summed = gradient.sum(0)
            to_bias = summed if rows is None else put(summed[None], rows, None, bias.shape)
        return to_x, to_weight, to_bias, None, None, None


def _placed(weight: Tensor, rows: Tensor | None, columns: Tensor | None) -> tuple[Tensor | None, int | None]:
    """Returns the rows, and how many of them are computed at once. It is None if all are; then the rows may be None too."""
    count = len(weight) if rows is None else rows.shape[1]
    bytes_of_row = (weight.shape[1] if columns is None else columns.shape[1]) * weight.element_size()
    if not weight.is_cpu or count * bytes_of_row <= LARGE:
        return rows, None
    return torch.arange(count)[None] if rows is None else rows, max(16, BLOCK // bytes_of_row // 16 * 16)


def _blocks(size: int | None, *tensors: Tensor | None) -> Iterable[tuple[Any, ...]]:
    """Returns the tensors split along their last axis, block by block; whole if `size` is None."""
    return (tensors,) if size is None else zip(*(each.split(size, -1) for each in tensors if each is not None), strict=True)


def _full_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, rows: Tensor | None, columns: Tensor | None, scale: float
) -> Tensor:
    """Returns the gradient of the whole weight. Each block writes all its rows, zeros included, up to the next block."""
    places, size = _placed(weight, rows, columns)
    if places is None or size is None:
        return put(_product(gradient.T, x, scale)[None], rows, columns, weight.shape)
    whole, begin = weight.new_empty(weight.shape), 0
    ends = [*places[0, size::size].tolist(), len(weight)]
    for end, (some, piece) in zip(ends, _blocks(size, places, gradient), strict=True):
        part = _product(piece.T, x, scale)[None]
        whole[begin:end] = put(part, some - begin, columns, (end - begin, weight.shape[1]))
        begin = end
    return whole


def _product(one: Tensor, other: Tensor, scale: float) -> Tensor:
    """Returns `scale * one @ other`; the product takes the factor, so no pass over the result is needed."""
    if scale == 1.0:
        return one @ other
    return torch.addmm(one.new_empty(()), one, other, beta=0, alpha=scale)


def _differentiable(ctx: Any, gradient: Tensor) -> list[Tensor | None]:
    (x, weight, bias), (rows, columns, scale) = ctx.saved_tensors, ctx.rest
    part = take(weight, rows, columns)[0] * scale
    y = F.linear(x, part, bias if bias is None or rows is None else take(bias, rows, None)[0])
    wanted = [each for each, needs in zip((x, weight, bias), ctx.needs_input_grad, strict=False) if needs and each is not None]
    found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=True))
    return [next(found) if needs else None for needs in ctx.needs_input_grad[:3]]
