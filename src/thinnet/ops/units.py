"""Noise at a rate of each unit, factors of units, and blocks: one pass over a contiguous tensor on a CPU or a GPU.

`served` says where these kernels run. Elsewhere the methods compose the same numbers from `apply_noise`, bit for bit.
"""

from typing import Any

import torch
from torch import Tensor

from thinnet.ops import gpu, schema

library = torch.library.Library("thinnet", "FRAGMENT")
ADDRESS = "Tensor seed, Tensor? step, Tensor? site, Tensor? samples"
TAGS = (torch.Tag.pt2_compliant_tag,)
library.define(f"select_units(Tensor x, Tensor rate, Tensor scale, int first, {ADDRESS}) -> Tensor", tags=TAGS)
library.define("scale_units(Tensor x, Tensor scale) -> Tensor", tags=TAGS)
library.define(f"gaussian_units(Tensor x, Tensor scale, float base, {ADDRESS}) -> Tensor", tags=TAGS)
library.define(f"drop_blocks(Tensor x, Tensor scale, int threshold, int[] block, bool shared, {ADDRESS}) -> Tensor", tags=TAGS)

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
REAL = (*DTYPES, torch.float64)
Address = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]


def _fake(x: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(x)


for name in ("select_units", "scale_units", "gaussian_units", "drop_blocks"):
    torch.library.register_fake(f"thinnet::{name}", _fake, lib=library)
gpu.register(library, "units", "select_units", "drop_blocks")


def plain(x: Tensor) -> bool:
    """Returns whether a compiled kernel may take a CPU tensor by itself: nothing traces, watches or transforms operations."""
    return x.device.type == "cpu" and _alone(x)


def _alone(x: Tensor) -> bool:
    """The same for any device that has kernels."""
    if type(x) not in (Tensor, torch.nn.Parameter) or not schema.has_kernels(x.device.type):
        return False
    if torch.compiler.is_compiling() or torch._C._is_tracing() or schema.transformed():
        return False
    return not torch._C._len_torch_dispatch_stack()  # whoever watches operations knows those of PyTorch and `apply_noise`


def served(x: Tensor, address: Address) -> bool:
    """Returns whether a kernel takes `x`: plain code on a dense, contiguous tensor with samples on axis 0."""
    if not _alone(x):
        return False
    _, step, _, samples = address
    one_step = step is None or step.ndim == 0
    by_sample = samples is None or x.ndim > 1
    return x.layout is torch.strided and x.ndim > 0 and x.is_contiguous() and not x.is_nested and one_step and by_sample


def served_on_cpu(x: Tensor, address: Address) -> bool:
    """Returns the same for `scale_units` and `gaussian_units`, which have a kernel on a CPU alone."""
    return x.device.type == "cpu" and served(x, address)


def select_units(x: Tensor, rate: Tensor, scale: Tensor, address: Address, first: int = 0) -> Tensor:
    """Returns x scale where uniform noise is at least the rate, else zeros. `x` must be `served`, and no float64.

    Args:
        x: any shape.
        rate, scale: float32, and broadcast over `x`.
        address: seed, step, site and samples.
        first: how many units of a sample come before its numbers.
    """
    rate, scale = torch.broadcast_tensors(rate, scale)
    with schema.below_autograd():
        rate, scale = (each.to(x.device).contiguous().expand(x.shape) for each in (rate, scale))
        return torch.ops.thinnet.select_units.default(x, rate, scale, first, *address)


def scale_units(x: Tensor, scale: Tensor) -> Tensor:
    """Returns x scale, and zeros where the scale is 0, also for infinite numbers. `x` must be `served_on_cpu`, and no float64.

    Args:
        x: any shape.
        scale: float32, and broadcasts over `x`.
    """
    with schema.below_autograd():
        return torch.ops.thinnet.scale_units.default(x, scale.contiguous().expand(x.shape))


def gaussian_units(x: Tensor, scale: Tensor, base: float, address: Address) -> Tensor:
    """Returns x (base + scale z), with the standard normal z of each unit. `x` must be `served_on_cpu`, and no float64.

    Args:
        x: any shape.
        scale: float32, and broadcasts over `x`.
        base: what is added to the noise.
        address: seed, step, site and samples.
    """
    with schema.below_autograd():
        return torch.ops.thinnet.gaussian_units.default(x, scale.contiguous().expand(x.shape), base, *address)


def drop_blocks(x: Tensor, scale: Tensor, threshold: int, block: tuple[int, ...], shared: bool, address: Address) -> Tensor:
    """Returns `x` times the scale of each position where no block is dropped, and zeros elsewhere. `x` must be `served`.

    Args:
        x: `(N, C, ...)`, with up to three axes of a map.
        scale: `(...)`, of the positions of a map.
        threshold: a block is dropped at this rate in 2^-23.
        block: its sides.
        shared: whether the channels of a sample drop the same blocks.
        address: seed, step, site and samples.
    """
    with schema.below_autograd():
        return torch.ops.thinnet.drop_blocks.default(x, scale.to(x.device).contiguous(), threshold, block, shared, *address)
