"""Launches the Triton kernels of dropout and its neighbours. Tensors are contiguous, as ops/fused/call.py makes them."""

from typing import Any

import torch
import triton
from torch import Tensor

from thinnet.ops.triton import chain_kernels, norm_kernels
from thinnet.ops.triton.launch import TILE_BYTES, Plan, launch

kernels: Any = chain_kernels  # a launch takes options that the signature of a kernel does not have
norms: Any = norm_kernels
PROGRAMS = 512  # that share the rows of a backward pass: two for each multiprocessor of a large GPU, and some more
THREAD = 16  # numbers of a row that a thread has


def _address(where: tuple[Any, ...]) -> tuple[Any, ...]:
    *rest, samples = where
    return *rest, None if samples is None else samples.contiguous()


def has_first(samples: Tensor | None) -> bool:
    """Returns whether rows count on from one id, or have none."""
    return samples is None or samples.numel() == 1


def _given(*tensors: Tensor | None) -> tuple[bool, ...]:
    return tuple(each is None for each in tensors)


def _rows(y: Tensor, bias: Tensor | None, samples: Tensor | None) -> tuple[tuple[int, ...], dict[str, bool | int], int]:
    """Returns units, segments and their number, the constants of the kernels, and how many programs there are."""
    rows = 1 if samples is None else y.shape[0]
    units = y.numel() // rows
    segments, tile = -(-units // 128), TILE_BYTES // y.element_size() // 128
    total = rows * segments
    constants = {"REPEATS": bias is not None and bias.numel() < y.numel(), "FIRST": has_first(samples)}
    constants |= {"ROWS": rows > 1, "LARGE": y.numel() + 128 * tile >= 1 << 31, "TILE": tile}
    return (units, segments, total), constants, -(-total // tile)


def fused(
    x: Tensor,
    ids: Tensor | None,
    bias: Tensor | None,
    gate: Tensor | None,
    residual: Tensor | None,
    activation: int,
    *where: Any,
) -> Tensor:
    """Returns residual + dropout(activation(x + bias) gate)."""
    y = x.new_empty(x.shape if ids is None else (*ids.shape, x.shape[1]))
    if y.numel() == 0:
        return y
    address = _address(where)
    samples, period = address[-1], 1 if bias is None else bias.numel()
    layout = (
        "fused",
        x.dtype,
        x.shape,
        y.shape,
        period,
        activation,
        has_first(samples),
        _given(ids, bias, gate, residual, samples),
    )

    def plan() -> Plan:
        places, constants, programs = _rows(y, bias, samples)
        numbers = *places, y.shape[-1] if y.ndim else 1, period, x.shape[0] if x.ndim else 1
        return Plan(kernels.chain_kernel, programs, numbers, {"ACTIVATION": activation, **constants})

    launch((y, x, ids, bias, gate, residual, *address), layout, plan)
    return y


def fused_backward(
    gradient: Tensor, x: Tensor, bias: Tensor | None, gate: Tensor | None, activation: int, *where: Any
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x + bias, and of the gate."""
    of_z, of_gate = torch.empty_like(x), x.new_empty((0,) if gate is None else x.shape)
    if x.numel() == 0:
        return of_z, of_gate
    address = _address(where)
    samples, period = address[-1], 1 if bias is None else bias.numel()
    layout = "fused_backward", x.dtype, x.shape, period, activation, has_first(samples), _given(bias, gate, samples)

    def plan() -> Plan:
        places, constants, programs = _rows(x, bias, samples)
        return Plan(kernels.chain_backward_kernel, programs, (*places, period), {"ACTIVATION": activation, **constants})

    launch((of_z, None if gate is None else of_gate, gradient, x, bias, gate, *address), layout, plan)
    return of_z, of_gate


def _norm_plan(kernel: str, x: Tensor, eps: float, rms: bool, samples: Tensor | None, chunk: int = 0) -> Plan:
    width, segments = x.shape[-1], triton.next_power_of_2(-(-x.shape[-1] // 128))
    rows = x.numel() // width
    each = rows if samples is None else max(1, rows // x.shape[0])
    constants = {"RMS": rms, "FIRST": has_first(samples), "ALIGNED": width % 128 == 0, "SEGMENTS": segments}
    warps = min(16, max(1, segments * 128 // (32 * THREAD)))
    numbers = (width, each, eps) + ((rows, chunk) if chunk else ())
    return Plan(getattr(norms, kernel), -(-rows // chunk) if chunk else rows, numbers, constants, warps)


def fused_norm(
    x: Tensor, residual: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, rms: bool, *where: Any
) -> tuple[Tensor, Tensor]:
    """Returns norm(h) weight + bias over the last axis, and h = residual + dropout(x)."""
    y, h = torch.empty_like(x), torch.empty_like(x)
    if x.numel() == 0:
        return y, h
    address = _address(where)
    samples = address[-1]
    layout = "fused_norm", x.dtype, x.shape, eps, rms, has_first(samples), _given(weight, bias, samples)
    launch((y, h, x, residual, weight, bias, *address), layout, lambda: _norm_plan("norm_kernel", x, eps, rms, samples))
    return y, h


def fused_norm_backward(
    gradient: Tensor, h_gradient: Tensor | None, h: Tensor, weight: Tensor | None, eps: float, rms: bool, *where: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of x, residual, weight and bias. Programs sum their rows, in an order that no device changes."""
    of_x, of_residual, width = torch.empty_like(h), torch.empty_like(h), h.shape[-1]
    if h.numel() == 0:
        return of_x, of_residual, h.new_zeros(width), h.new_zeros(width)
    rows = h.numel() // width
    chunk = -(-rows // PROGRAMS)
    sums = h.new_empty(2, -(-rows // chunk), width, dtype=torch.float32)
    address = _address(where)
    samples = address[-1]
    layout = "fused_norm_backward", h.dtype, h.shape, eps, rms, has_first(samples), _given(h_gradient, weight, samples)
    tensors = of_x, of_residual, sums[0], sums[1], gradient, h_gradient, h, weight, *address
    launch(tensors, layout, lambda: _norm_plan("norm_backward_kernel", h, eps, rms, samples, chunk))
    return of_x, of_residual, sums[0].sum(0).to(h.dtype), sums[1].sum(0).to(h.dtype)
