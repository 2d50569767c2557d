"""Noise at a rate of each unit, factors and sums of units, and blocks: one pass over a contiguous tensor on a CPU or a GPU.

`served` says where these kernels run. Elsewhere the methods compose the same numbers from `apply_noise`, bit for bit. Sums
have another rounding there.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from thinnet.ops import gpu, schema
from thinnet.ops.autograd import EagerFunction, without_autograd

library = torch.library.Library("thinnet", "FRAGMENT")
ADDRESS = "Tensor seed, Tensor? step, Tensor? site, Tensor? samples"
TAGS = (torch.Tag.pt2_compliant_tag,)
library.define(f"select_units(Tensor x, Tensor rate, Tensor scale, int first, {ADDRESS}) -> Tensor", tags=TAGS)
library.define("scale_units(Tensor x, Tensor scale) -> Tensor", tags=TAGS)
library.define(f"gaussian_units(Tensor x, Tensor scale, {ADDRESS}) -> Tensor", tags=TAGS)
library.define(f"gaussian_units_backward(Tensor gradient, Tensor x, Tensor scale, {ADDRESS}) -> (Tensor, Tensor)", tags=TAGS)
library.define(f"add_gaussian(Tensor x, Tensor scale, {ADDRESS}) -> Tensor", tags=TAGS)
library.define("sum_units(Tensor x, int[] shape, bool squares) -> Tensor", tags=TAGS)
library.define(f"drop_blocks(Tensor x, Tensor scale, int threshold, int[] block, bool shared, {ADDRESS}) -> Tensor", tags=TAGS)

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
REAL = (*DTYPES, torch.float64)
Address = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]


def _fake(x: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(x)


for name in ("select_units", "scale_units", "gaussian_units", "add_gaussian", "drop_blocks"):
    torch.library.register_fake(f"thinnet::{name}", _fake, lib=library)


@torch.library.register_fake("thinnet::gaussian_units_backward", lib=library)
def _fake_backward(gradient: Tensor, x: Tensor, scale: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    units = prod(size for size, stride in zip(x.shape, scale.stride(), strict=True) if stride)
    return torch.empty_like(gradient), scale.new_empty(units)


@torch.library.register_fake("thinnet::sum_units", lib=library)
def _fake_sums(x: Tensor, shape: list[int], squares: bool) -> Tensor:
    return x.new_empty(prod(shape), dtype=torch.float64)


def composed_backward(gradient: Tensor, x: Tensor, scale: Tensor, *address: Any) -> tuple[Tensor, Tensor]:
    """The definition of `gaussian_units_backward`, which runs where no kernel of it is there."""
    z = torch.ops.thinnet.add_gaussian(torch.zeros_like(x, dtype=torch.float32), torch.ones_like(scale), *address)
    shared = [axis for axis, stride in enumerate(scale.stride()) if stride == 0]
    product = gradient.float() * x.float() * z
    of_scale = product.sum(shared) if shared else product
    return torch.ops.thinnet.gaussian_units(gradient, scale, *address), of_scale.flatten()


library.impl("gaussian_units_backward", composed_backward, "CompositeExplicitAutograd")
gpu.register(library, "units", "select_units", "scale_units", "gaussian_units", "add_gaussian", "drop_blocks")


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


def _dense(x: Tensor) -> bool:
    return x.layout is torch.strided and x.ndim > 0 and x.is_contiguous() and not x.is_nested


def served(x: Tensor, address: Address | None = None) -> bool:
    """Returns whether a kernel takes `x`: plain code on a dense, contiguous tensor, with samples of the noise on axis 0."""
    if address is not None:
        _, step, _, samples = address
        if (step is not None and step.ndim > 0) or (samples is not None and x.ndim < 2):
            return False
    return _alone(x) and _dense(x)


def summed(x: Tensor) -> bool:
    """Returns whether `sum_units` takes `x`: plain code on a dense, contiguous tensor on a CPU, of a dtype in `DTYPES`."""
    return x.dtype in DTYPES and plain(x) and _dense(x)


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
    """Returns x scale, and zeros where the scale is 0, also for infinite numbers. `x` must be `served`, and no float64.

    Args:
        x: any shape.
        scale: float32, and broadcasts over `x`.
    """
    with schema.below_autograd():
        return torch.ops.thinnet.scale_units.default(x, scale.contiguous().expand(x.shape))


def gaussian_units(x: Tensor, scale: Tensor, address: Address) -> Tensor:
    """Returns x (1 + scale z), with the standard normal z of each unit. `x` must be `served`, and no float64.

    Args:
        x: any shape.
        scale: float32, and broadcasts over `x`.
        address: seed, step, site and samples.
    """
    spread = scale.detach().contiguous().expand(x.shape)
    return without_autograd(torch.ops.thinnet.gaussian_units.default, x, spread, *address)


def gaussian_units_backward(gradient: Tensor, x: Tensor, scale: Tensor, address: Address) -> tuple[Tensor, Tensor]:
    """Returns the gradients of `x` and of `scale` in `gaussian_units`; z is drawn once for both."""
    spread = scale.detach().contiguous().expand(x.shape)
    of_x, of_scale = without_autograd(torch.ops.thinnet.gaussian_units_backward.default, gradient, x, spread, *address)
    return of_x, of_scale.reshape(scale.shape)


def add_gaussian(x: Tensor, scale: Tensor, address: Address) -> Tensor:
    """Returns x + scale z. The arguments are those of `gaussian_units`."""
    with schema.below_autograd():
        return torch.ops.thinnet.add_gaussian.default(x, scale.contiguous().expand(x.shape), *address)


def sum_units(x: Tensor, shape: Sequence[int], squares: bool = False) -> Tensor:
    """Returns how many numbers of each unit are positive, or the sum of their squares, in float64. `x` must be `summed`.

    Args:
        x: any shape.
        shape: that of the units: 1 where an axis of `x` is summed.
        squares: whether to sum squares.
    """
    with schema.below_autograd():
        return torch.ops.thinnet.sum_units.default(x, shape, squares).reshape(shape)


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


class SelfAdjoint(EagerFunction):
    """A linear function of x whose derivative is itself; it keeps what it needs to run again, and not x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.run = run
        return run(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        return linear(gradients[0].contiguous(), ctx.run), None


def linear(x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """Returns `run(x)` and lets autograd apply `run` to the gradient, where no transform of `torch.func` is active.

    It costs a tenth of a `torch.autograd.Function` with rules for transforms.
    """
    return SelfAdjoint.apply(x, run) if schema.differentiated(x) else run(x)  # type: ignore[attr-defined]
