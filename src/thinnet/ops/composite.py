"""Applies noise from random numbers of PyTorch: for graphs that leave it, of `torch.jit.trace` and `torch.onnx.export`.

Such a graph has the rate and the scale of `thinnet::apply_noise`, but not its random bits: those of a TorchScript or ONNX
graph come from the generator of whatever runs the graph. So it has no addressed masks.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thinnet.ops import reference
from thinnet.ops.reference import NoiseKind


def apply_noise(x: Tensor, rate: Tensor, noise_shape: Sequence[Any], kind: NoiseKind) -> Tensor:
    """Applies noise to `x`, one random number for each element of `noise_shape`."""
    if kind == NoiseKind.GAUSSIAN:
        drawn = torch.randn(noise_shape, device=x.device)
    elif kind == NoiseKind.UNIFORM:
        drawn = 2 * torch.rand(noise_shape, device=x.device) - 1
    else:
        drawn = torch.randint(0, 65536, noise_shape, device=x.device)
    return reference.selected(kind, False, x, rate, drawn).to(x.dtype)


def traced(x: Tensor, rate: Tensor, addressed: bool, shared_axes: tuple[int, ...], kind: NoiseKind, function: str) -> Tensor:
    """Applies noise to `x` under `torch.jit.trace`, which records what this calls."""
    if addressed:
        raise RuntimeError(f"{function}: TorchScript has no addressed masks. Call rng.unbind() first, or use torch.export.")
    return apply_noise(x, rate, [1 if axis in shared_axes else size for axis, size in enumerate(x.shape)], kind)


def exported(
    x: Tensor,
    rate: Tensor,
    seed: Tensor,
    step: Tensor | None,
    site: Tensor | None,
    samples: Tensor | None,
    units: list[Any],
    options: int,
) -> Tensor:
    """Applies noise to `x` in a graph that is exported to ONNX; the arguments are those of `thinnet::apply_noise`."""
    if site is not None:
        raise RuntimeError("torch.onnx.export: ONNX has no addressed masks. Call rng.unbind() first.")
    strides = units[:-1] if units else [1] * x.ndim
    shape = [1 if isinstance(stride, int) and stride == 0 else size for size, stride in zip(x.shape, strides, strict=True)]
    return apply_noise(x, rate, shape, NoiseKind(options & 3))
