"""Defines the results of the fused operations, in plain PyTorch.

    fused:       y = residual + dropout(activation(x + bias) gate)
    fused_norm:  h = residual + dropout(x),  y = norm(h) weight + bias

The mask is that of `apply_noise` on the same shape at the same address. Half precision is computed in float32 and rounded
once, at the end; `fused_norm` rounds `h` too, as it returns it.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from thinnet.ops import schema
from thinnet.ops.arguments import LINEAR
from thinnet.ops.noise import apply_noise
from thinnet.ops.reference import NoiseKind, Where, constants


class Activation(IntEnum):
    """What is computed of each number before dropout."""

    NONE = 0
    RELU = 1
    GELU = 2
    GELU_TANH = 3
    SILU = 4
    RELU_RESULT = 5  # of backward alone: ReLU, where its result after dropout is given instead of x


FUNCTIONS: dict[int, Callable[[Tensor], Tensor]] = {
    Activation.NONE: lambda z: z,
    Activation.RELU: F.relu,
    Activation.GELU: F.gelu,
    Activation.GELU_TANH: lambda z: F.gelu(z, approximate="tanh"),
    Activation.SILU: F.silu,
}


def dropped(x: Tensor, where: Where | None) -> Tensor:
    """Returns `x` with dropout at an address, by the path of `apply_noise` that is right here; `x` itself without one."""
    if where is None:
        return x
    rate, seed, step, site, samples = where
    return apply_noise(x, rate, seed, step=step, site=site, samples=samples)


def dropped_gradient(gradient: Tensor, where: Where) -> Tensor:
    """Returns the derivative of `dropped`: the same mask."""
    return schema.call(gradient, *where, [], int(NoiseKind.INVERTED) | LINEAR)


def chain(
    x: Tensor,
    ids: Tensor | None,
    bias: Tensor | None,
    gate: Tensor | None,
    residual: Tensor | None,
    activation: int,
    where: Where | None,
) -> Tensor:
    """Returns the chain as separate operations, each rounded to its dtype."""
    z = x if ids is None else F.embedding(ids, x)
    z = z if bias is None else z + bias
    y = FUNCTIONS[activation](z)
    y = dropped(y if gate is None else y * gate, where)
    return y if residual is None else residual + y


def norm_chain(
    x: Tensor, residual: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, rms: bool, where: Where | None
) -> tuple[Tensor, Tensor]:
    """Returns the normalised sum and the sum, as separate operations."""
    h = residual + dropped(x, where)
    return normalised(h, weight, bias, eps, rms), h


def normalised(h: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, rms: bool) -> Tensor:
    """Returns `h` normalised over its last axis."""
    shape = h.shape[-1:]
    return F.rms_norm(h, shape, weight, eps) if rms else F.layer_norm(h, shape, weight, bias, eps)


def fused(x: Tensor, ids: Any, bias: Any, gate: Any, residual: Any, activation: int, *where: Any) -> Tensor:
    """Defines `thinnet::fused`."""
    wide = (None if each is None else _wide(each) for each in (bias, gate, residual))
    return chain(_wide(x), ids, *wide, activation, where).to(x.dtype).contiguous()  # type: ignore[arg-type]


def fused_backward(gradient: Tensor, x: Tensor, bias: Any, gate: Any, activation: int, *where: Any) -> tuple[Tensor, Tensor]:
    """Defines `thinnet::fused_backward`: the gradients of x + bias, and of the gate."""
    if activation == Activation.RELU_RESULT:
        scale, _, _ = constants(NoiseKind.INVERTED, True, where[0])
        return torch.where(x <= 0, 0, _wide(gradient) * scale).to(x.dtype).contiguous(), x.new_empty(0)
    with torch.enable_grad():
        z = (_wide(x) if bias is None else _wide(x) + _wide(bias)).detach().requires_grad_()
        factor = None if gate is None else _wide(gate).detach().requires_grad_()
        value = FUNCTIONS[activation](z)
        product = value if factor is None else value * factor
    wanted = [z] if factor is None else [z, factor]
    kept = dropped_gradient(_wide(gradient), where).detach()  # type: ignore[arg-type]
    found = [kept] if product is z else [*torch.autograd.grad(product, wanted, kept)]
    found = [each.to(x.dtype).contiguous() for each in found]
    return (found[0].clone() if product is z else found[0]), found[1] if gate is not None else x.new_empty(0)


def fused_norm(
    x: Tensor, residual: Tensor, weight: Any, bias: Any, eps: float, rms: bool, *where: Any
) -> tuple[Tensor, Tensor]:
    """Defines `thinnet::fused_norm`."""
    h = (_wide(residual) + dropped(_wide(x), where)).to(x.dtype).contiguous()  # type: ignore[arg-type]
    scale, shift = (None if each is None else _wide(each) for each in (weight, bias))
    return normalised(_wide(h), scale, shift, eps, rms).to(x.dtype).contiguous(), h


def fused_norm_backward(
    gradient: Tensor, h_gradient: Any, h: Tensor, weight: Any, eps: float, rms: bool, *where: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Defines `thinnet::fused_norm_backward`: the gradients of x, residual, weight and bias."""
    wide = _wide(gradient)
    with torch.enable_grad():
        at = _wide(h).detach().requires_grad_()
        scale = (h.new_ones(h.shape[-1:], dtype=at.dtype) if weight is None else _wide(weight)).detach().requires_grad_()
        y = normalised(at, scale, None, eps, rms)
    of_h, of_weight = torch.autograd.grad(y, [at, scale], wide)
    total = of_h if h_gradient is None else of_h + _wide(h_gradient)
    of_x = dropped_gradient(total, where).detach()  # type: ignore[arg-type]
    of_bias = wide.reshape(-1, h.shape[-1]).sum(0)
    found = [each.to(h.dtype).contiguous() for each in (of_x, total, of_weight, of_bias)]
    return found[0], found[1], found[2], found[3]


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
