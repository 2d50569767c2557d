"""Registers the fused operations with PyTorch: schemas, fake kernels, derivatives, and the reference as a fallback.

For backward they keep what the composition would keep anyway, or less, and never the mask: nothing without an activation, the
result behind ReLU, else the inputs. `fused_norm` keeps the sum `h`, and computes its moments again.
"""

from typing import Any

import torch
from torch import Tensor

from thinnet.ops import gpu
from thinnet.ops.autograd import EagerFunction, without_autograd
from thinnet.ops.fused import reference
from thinnet.ops.fused.reference import Activation

ADDRESS = "Tensor rate, Tensor seed, Tensor? step, Tensor? site, Tensor? samples"
TAGS = (torch.Tag.pt2_compliant_tag,)
library = torch.library.Library("thinnet", "FRAGMENT")
for name, arguments, results in (
    ("fused", "Tensor x, Tensor? ids, Tensor? bias, Tensor? gate, Tensor? residual, int activation", "Tensor"),
    ("fused_backward", "Tensor gradient, Tensor x, Tensor? bias, Tensor? gate, int activation", "(Tensor, Tensor)"),
    ("fused_norm", "Tensor x, Tensor residual, Tensor? weight, Tensor? bias, float eps, bool rms", "(Tensor, Tensor)"),
    (
        "fused_norm_backward",
        "Tensor gradient, Tensor? h_gradient, Tensor h, Tensor? weight, float eps, bool rms",
        "(Tensor, Tensor, Tensor, Tensor)",
    ),
):
    library.define(f"{name}({arguments}, {ADDRESS}) -> {results}", tags=TAGS)
    library.impl(name, getattr(reference, name), "CompositeExplicitAutograd")

gpu.register(library, "fused", "fused", "fused_backward", "fused_norm", "fused_norm_backward")
op, op_backward = torch.ops.thinnet.fused.default, torch.ops.thinnet.fused_backward.default
norm_op, norm_op_backward = torch.ops.thinnet.fused_norm.default, torch.ops.thinnet.fused_norm_backward.default


def _new(x: Tensor, shape: Any = None) -> Tensor:
    return x.new_empty(x.shape if shape is None else shape)


@torch.library.register_fake("thinnet::fused", lib=library)
def _fake(x: Tensor, ids: Tensor | None, *rest: Any) -> Tensor:
    return _new(x, None if ids is None else (*ids.shape, x.shape[1]))


@torch.library.register_fake("thinnet::fused_backward", lib=library)
def _fake_backward(gradient: Tensor, x: Tensor, bias: Any, gate: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
    return _new(x), _new(x, (0,) if gate is None else None)


@torch.library.register_fake("thinnet::fused_norm", lib=library)
def _fake_norm(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return _new(x), _new(x)


@torch.library.register_fake("thinnet::fused_norm_backward", lib=library)
def _fake_norm_backward(gradient: Tensor, h_gradient: Any, h: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return _new(h), _new(h), _new(h, h.shape[-1:]), _new(h, h.shape[-1:])


def _no_kept(activation: int, gate: Any) -> bool:
    """Whether backward needs no number of forward."""
    return activation == Activation.NONE and gate is None


def _result_kept(activation: int, gate: Any, residual: Any) -> bool:
    """Whether the result says where the input was positive and kept."""
    return activation == Activation.RELU and gate is None and residual is None


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ids, bias, gate, residual, activation, *where = inputs
    ctx.activation, ctx.where = activation, where
    ctx.bias_shape = None if bias is None else bias.shape
    ctx.rows, ctx.width = (0, 0) if ids is None else x.shape
    ctx.result = _result_kept(activation, gate, residual)
    none = _no_kept(activation, gate)
    kept = (None, None, None) if none else (output, None, None) if ctx.result else (x, bias, gate)
    ctx.save_for_backward(ids, *kept)


def _backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
    """Returns the gradients of x, ids, bias, gate and residual."""
    gradient = gradients[0]
    ids, x, bias, gate = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    of_gate: Tensor | None = None
    if x is None:
        of_z = reference.dropped_gradient(gradient, ctx.where) if wanted[0] or wanted[2] else None
    elif twice():
        of_z, of_gate = _differentiable(ctx, gradient, x, bias, gate)
    else:
        activation = Activation.RELU_RESULT if ctx.result else ctx.activation
        of_z, of_gate = without_autograd(op_backward, gradient.contiguous(), x, bias, gate, int(activation), *ctx.where)
    of_bias = of_z.reshape(-1, *ctx.bias_shape).sum(0) if wanted[2] and of_z is not None else None
    if ids is not None and of_z is not None:
        of_z = torch.ops.aten.embedding_dense_backward(of_z, ids, ctx.rows, -1, False) if wanted[0] else None
    return of_z, None, of_bias, of_gate if wanted[3] else None, gradient if wanted[4] else None


def twice() -> bool:
    """Returns whether somebody differentiates the gradient, in eager code."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _differentiable(ctx: Any, gradient: Tensor, x: Tensor, bias: Any, gate: Any) -> tuple[Tensor, Tensor | None]:
    """Returns the gradients of x + bias and of the gate as operations that have derivatives."""
    kept = reference.dropped_gradient(gradient, ctx.where)
    if ctx.result:
        return torch.where(x <= 0, 0, kept), None
    z = x.detach().requires_grad_() if not x.requires_grad else x
    z = z if bias is None else z + bias
    value = reference.FUNCTIONS[ctx.activation](z)
    of_value = kept if gate is None else kept * gate
    of_z = of_value if value is z else torch.autograd.grad(value, z, of_value, create_graph=True)[0]
    return of_z, None if gate is None else kept * value


def _norm_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, _, weight, _, ctx.eps, ctx.rms, *ctx.where = inputs
    ctx.save_for_backward(output[1], weight)
    ctx.set_materialize_grads(False)


def _norm_backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
    """Returns the gradients of x, residual, weight and bias."""
    of_y, of_h = gradients
    h, weight = ctx.saved_tensors
    if of_y is None:
        return (None if of_h is None else reference.dropped_gradient(of_h, ctx.where)), of_h, None, None
    if twice():
        return _norm_differentiable(ctx, of_y, of_h, h, weight)
    of_h = None if of_h is None else of_h.contiguous()
    found = without_autograd(norm_op_backward, of_y.contiguous(), of_h, h, weight, ctx.eps, ctx.rms, *ctx.where)
    return tuple(each if wanted else None for each, wanted in zip(found, ctx.needs_input_grad, strict=False))


def _norm_differentiable(ctx: Any, of_y: Tensor, of_h: Any, h: Tensor, weight: Any) -> tuple[Tensor | None, ...]:
    scale = torch.ones_like(h[(0,) * (h.ndim - 1)]) if weight is None else weight
    scale = scale if scale.requires_grad else scale.detach().requires_grad_()
    y = reference.normalised(h, scale, None, ctx.eps, ctx.rms)
    found, of_scale = torch.autograd.grad(y, [h, scale], of_y, create_graph=True)
    total = found if of_h is None else found + of_h
    of_bias = of_y.reshape(-1, h.shape[-1]).sum(0)
    made = reference.dropped_gradient(total, ctx.where), total, of_scale, of_bias
    return tuple(each if wanted else None for each, wanted in zip(made, ctx.needs_input_grad, strict=False))


INPUTS = 11  # of both operations


def _registered(backward: Any) -> Any:
    def padded(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        found = backward(ctx, *gradients)
        return *found, *(None,) * (INPUTS - len(found))

    return padded


torch.library.register_autograd("thinnet::fused", _registered(_backward), setup_context=_setup, lib=library)
torch.library.register_autograd("thinnet::fused_norm", _registered(_norm_backward), setup_context=_norm_setup, lib=library)


class Fused(EagerFunction):
    """Serves a plain training step: autograd does not look at the address."""

    @staticmethod
    def forward(ctx: Any, x: Any, ids: Any, bias: Any, gate: Any, residual: Any, rest: tuple[Any, ...]) -> Tensor:
        y = without_autograd(op, x, ids, bias, gate, residual, *rest)
        _setup(ctx, (x, ids, bias, gate, residual, *rest), y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        return *_backward(ctx, *gradients), None


class FusedNorm(EagerFunction):
    """The same for `fused_norm`."""

    @staticmethod
    def forward(ctx: Any, x: Any, residual: Any, weight: Any, bias: Any, rest: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        found = without_autograd(norm_op, x, residual, weight, bias, *rest)
        _norm_setup(ctx, (x, residual, weight, bias, *rest), found)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        return *_norm_backward(ctx, *gradients), None
