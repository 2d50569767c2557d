"""A linear layer on a part of its inputs and outputs, as one step of autograd.

y = s x W[rows, columns]^T + b[rows]. Forward keeps x alone, and backward takes the part of the weights again.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from thinnet.ops import schema
from thinnet.ops.compact import CompactGradient, Part, is_requested
from thinnet.ops.take import put, take


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
        rows: `(1, some)`, the outputs to compute; all of them where it is None.
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
        part, flat = take(weight, rows, columns)[0], x.reshape(-1, x.shape[-1])
        y = x.new_empty(*x.shape[:-1], len(part))  # no view, which nobody could change in place
        added = y.new_empty(()) if bias is None else bias if rows is None else take(bias, rows, None)[0]
        torch.addmm(added, flat, part.T, beta=bias is not None, alpha=scale, out=y.view(-1, len(part)))
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        (x, weight, bias), (rows, columns, scale) = ctx.saved_tensors, ctx.rest
        if torch.is_grad_enabled():  # somebody differentiates the gradient
            return *_differentiable(ctx, gradients[0]), None, None, None
        gradient, flat = gradients[0].reshape(-1, gradients[0].shape[-1]), x.reshape(-1, x.shape[-1])
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _product(gradient, take(weight, rows, columns)[0], scale).reshape(x.shape)
        if ctx.needs_input_grad[1]:
            part = _product(gradient.T, flat, scale)[None]
            compact = is_requested(weight)
            to_weight = (
                CompactGradient(Part(part, rows, columns, weight.shape)) if compact else put(part, rows, columns, weight.shape)
            )
        if ctx.needs_input_grad[2]:
            summed = gradient.sum(0)
            to_bias = summed if rows is None else put(summed[None], rows, None, bias.shape)
        return to_x, to_weight, to_bias, None, None, None


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
