"""Registers `thinnet::attention` and its backward with PyTorch: schema, fake kernels, derivative, and the reference."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thinnet.ops import gpu, schema
from thinnet.ops.attention import mapped, reference
from thinnet.ops.attention.settings import ARGUMENTS, Settings
from thinnet.ops.autograd import without_autograd

library = torch.library.Library("thinnet", "FRAGMENT")
library.define(f"attention(Tensor q, Tensor k, Tensor v, {ARGUMENTS}) -> (Tensor, Tensor)", tags=schema.TAGS)
library.define(
    f"attention_backward(Tensor dy, Tensor y, Tensor lse, Tensor q, Tensor k, Tensor v, {ARGUMENTS}, bool of_logits)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    tags=schema.TAGS,
)


def rows_first(shape: tuple[Any, ...], like: Tensor) -> Tensor:
    """Returns memory for `(B, H, T, E)` in which the heads of a token are neighbours, as the output projection reads them."""
    batch, heads, rows, width = shape
    return like.new_empty(batch, rows, heads, width).transpose(1, 2)


def _reference(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    schema._warn(q.device.type)
    y, lse = reference.forward(q, k, v, *rest)
    return rows_first(y.shape, q).copy_(y), lse.contiguous()


def _reference_backward(dy: Tensor, y: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    dq, dk, dv, dz = reference.backward(dy, y, lse, q, k, v, *rest)
    return *(torch.empty_like(x).copy_(dx) for x, dx in ((q, dq), (k, dk), (v, dv))), dz.contiguous()


library.impl("attention", _reference, "CompositeExplicitAutograd")
library.impl("attention_backward", _reference_backward, "CompositeExplicitAutograd")
gpu.register(library, "attention", "attention", "attention_backward")


@torch.library.register_fake("thinnet::attention", lib=library)
def _fake(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    batch, heads, rows, _ = q.shape
    return rows_first((batch, heads, rows, v.shape[3]), q), q.new_empty((batch, heads, rows), dtype=torch.float32)


@torch.library.register_fake("thinnet::attention_backward", lib=library)
def _fake_backward(dy: Tensor, y: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    shape = (*q.shape[:3], k.shape[2]) if rest[-1] else (0,)
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), q.new_empty(shape, dtype=torch.float32)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    settings = Settings(*inputs[3:])
    ctx.save_for_backward(*inputs[:3], *output, *settings[:12])
    ctx.numbers = settings[12:]
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, dy: Tensor, _: Any) -> tuple[Any, ...]:
    q, k, v, y, lse, *tensors = ctx.saved_tensors
    settings = Settings(*tensors, *ctx.numbers)
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # somebody differentiates the gradient
        return _twice(ctx, dy, q, k, v, settings)
    mask = settings.mask if ctx.needs_input_grad[3] else None
    dq, dk, dv, dz = without_autograd(op_backward, dy, y, lse, q, k, v, *settings, mask is not None)
    return dq, dk, dv, None if mask is None else dz.sum_to_size(mask.shape).to(mask.dtype), *(None,) * 15


def _twice(ctx: Any, dy: Tensor, q: Tensor, k: Tensor, v: Tensor, settings: Settings) -> tuple[Any, ...]:
    """Returns the gradients as functions that autograd differentiates again: those of the reference."""
    inputs = [x for x, needed in zip((q, k, v, settings.mask), ctx.needs_input_grad, strict=False) if needed]
    y, _ = reference.forward(q, k, v, *settings)
    found = iter(torch.autograd.grad(y, inputs, dy, create_graph=True))  # pyright: ignore[reportArgumentType, reportCallIssue]
    return *(next(found) if needed else None for needed in ctx.needs_input_grad[:4]), *(None,) * 15


torch.library.register_autograd("thinnet::attention", _backward, setup_context=_setup_context, lib=library)
op: Callable[..., Any] = torch.ops.thinnet.attention.default
op_backward: Callable[..., Any] = torch.ops.thinnet.attention_backward.default
FAST = frozenset((torch.float32, torch.bfloat16, torch.float16))


def call(q: Tensor, k: Tensor, v: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """Returns attention and log-sum-exp by the shortest path that is right here."""
    if schema.transformed() and mapped.is_mapping():
        return mapped.Mapped.apply(call, q, k, v, *settings)  # type: ignore[return-value]
    if q.dtype not in FAST or schema.transformed():  # float64, and the transforms, which have no rule for the operation
        return reference.forward(q, k, v, *settings)
    return op(q, k, v, *settings)
