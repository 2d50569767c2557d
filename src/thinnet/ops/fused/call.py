"""Calls the fused kernels where they serve, and the chain of separate operations elsewhere, with the same mask."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from thinnet.ops import schema as noise
from thinnet.ops.fused import reference, schema
from thinnet.ops.fused.reference import Activation
from thinnet.ops.reference import Where

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WIDEST = 16384  # numbers of a row that a program of a GPU holds in its registers


def fused(
    x: Tensor,
    where: Where | None,
    *,
    ids: Tensor | None = None,
    bias: Tensor | None = None,
    gate: Tensor | None = None,
    residual: Tensor | None = None,
    activation: Activation = Activation.NONE,
) -> Tensor:
    """Returns residual + dropout(activation(x + bias) gate).

    Args:
        x: any shape; with `ids`, a table whose rows they pick.
        where: rate, seed, step, site and samples, as `apply_noise` takes them; None drops nothing.
        ids: int64, of any shape.
        bias: the shape of the last axes of `x`.
        gate, residual: the shape of the result.
        activation: what is computed before dropout.
    """
    shape = x.shape if ids is None else (*ids.shape, *x.shape[1:])
    whole = all(each is None or each.shape == shape for each in (gate, residual))
    fits = whole and (bias is None or bias.shape == shape[len(shape) - bias.ndim :])
    fits = fits and (ids is None or (x.ndim == 2 and ids.dtype == torch.int64 and ids.device == x.device))
    if where is None or not fits or not served((x, bias, gate, residual), where):
        return reference.chain(x, ids, bias, gate, residual, activation, where)
    tensors = [None if each is None else each.contiguous() for each in (x, ids, bias, gate, residual)]
    rest = int(activation), *where
    if torch.compiler.is_compiling():
        return torch.ops.thinnet.fused(*tensors, *rest)
    if torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in tensors):
        return schema.Fused.apply(*tensors, rest)  # type: ignore[attr-defined]
    with noise.below_autograd():
        return schema.op(*tensors, *rest)


def fused_norm(
    x: Tensor,
    residual: Tensor,
    where: Where | None,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float,
    rms: bool = False,
) -> tuple[Tensor, Tensor]:
    """Returns norm(h) weight + bias over the last axis, and h = residual + dropout(x).

    Args:
        x, residual: of one shape.
        where: rate, seed, step, site and samples, as `apply_noise` takes them; None drops nothing.
        weight, bias: one number for each index of the last axis.
        eps: added to the variance, or the mean square.
        rms: whether to divide by the root of the mean square and subtract no mean.
    """
    tensors = x, residual, weight, bias
    fits = where is not None and x.ndim > (where[4] is not None) and residual.shape == x.shape  # an axis that counts no samples
    fits = fits and (x.device.type == "cpu" or x.shape[-1] <= WIDEST)
    if where is None or not fits or not served(tensors, where):
        return reference.norm_chain(x, residual, weight, bias, eps, rms, where)
    dense = [None if each is None else each.contiguous() for each in tensors]
    rest = eps, rms, *where
    if torch.compiler.is_compiling():
        return torch.ops.thinnet.fused_norm(*dense, *rest)
    if torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in dense):
        return schema.FusedNorm.apply(*dense, rest)  # type: ignore[attr-defined]
    with noise.below_autograd():
        return schema.norm_op(*dense, *rest)


def epsilon(x: Tensor, eps: float | None) -> float:
    """Returns what `torch.nn.RMSNorm` adds to the mean square where it is not told."""
    return torch.finfo(torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype).eps if eps is None else eps


def served(tensors: tuple[Any, ...], where: Where) -> bool:
    """Returns whether a kernel takes these tensors: plain code on dense tensors of one dtype, on a CPU or a GPU.

    Code that is compiled for a GPU keeps the chain: there the compiler fuses it, with the masks of ops/inductor.py.
    """
    device, compiling = tensors[0].device, torch.compiler.is_compiling()
    if not noise.has_kernels(device.type) or (compiling and device.type != "cpu"):
        return False
    if not compiling and (torch._C._is_tracing() or noise.transformed() or _watched()):
        return False
    step, dtype = where[2], tensors[0].dtype
    if dtype not in DTYPES or (step is not None and step.ndim):
        return False
    return all(each is None or _plain(each, dtype, device) for each in tensors)


def _watched() -> bool:
    """Whether somebody watches the operations, who knows `apply_noise` alone."""
    return torch._C._len_torch_dispatch_stack() > 0


def _plain(x: Tensor, dtype: torch.dtype, device: torch.device) -> bool:
    dense = x.layout is torch.strided and not x.is_nested
    return type(x) in (Tensor, Parameter) and x.device == device and x.dtype == dtype and dense
