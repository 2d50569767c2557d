"""Registers `thinnet::apply_noise` with PyTorch: schema, fake kernel, derivative, vmap, and the reference as a fallback."""

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.functional_tensor import FunctionalTensorMode
from torch.autograd import forward_ad

from thinnet.ops import build, composite, gpu, reference
from thinnet.ops.arguments import LINEAR, expanded, leading
from thinnet.ops.autograd import EagerFunction
from thinnet.ops.autograd import below_autograd as below_autograd
from thinnet.ops.reference import NoiseKind

ARGUMENTS = "Tensor rate, Tensor seed, Tensor? step, Tensor? site, Tensor? samples, SymInt[] units, int options"

library = torch.library.Library("thinnet", "DEF")
TAGS = torch.Tag.pt2_compliant_tag, torch.Tag.flexible_layout  # the unit of an element does not depend on strides
library.define(f"apply_noise(Tensor x, {ARGUMENTS}) -> Tensor", tags=TAGS)
library.define(f"apply_noise_(Tensor(a!) x, {ARGUMENTS}) -> ()", tags=TAGS)
library.define("cpu_path() -> str")


def _load() -> tuple[Path | None, str | None]:
    """Loads the compiled kernels; returns where they are, or why there are none."""
    reason = "the C++ kernels are not compiled; run thinnet build"
    for path in build.built():
        try:
            torch.ops.load_library(str(path))
        except OSError as error:
            reason = f"the C++ kernels do not load ({error}); run thinnet build --force"
        else:
            return path, None
    return None, reason


loaded, missing = _load()


def has_kernels(device: str) -> bool:
    """Returns whether kernels are there for a kind of device."""
    return device in ("cpu", "cuda") and (missing if device == "cpu" else gpu.missing) is None


@cache
def _warn(device: str) -> None:
    """Warns, once for each kind of device, if the reference serves it because a kernel is missing."""
    reason = {"cpu": missing, "cuda": gpu.missing}.get(device)
    if reason is not None:
        message = f"thinnet: plain PyTorch applies the noise on {device}, with the same masks but slower: {reason}."
        warnings.warn(message, stacklevel=2)


def _reference(x: Tensor, *rest: Any) -> Tensor:
    _warn(x.device.type)
    rate, seed, step, site, samples, units, options = rest
    strides, offset = expanded(x, step, samples, units)
    kind, linear = NoiseKind(options & 3), bool(options & LINEAR)
    return reference.apply_noise(x, rate, seed, step, site, samples, strides, offset, kind, linear)


def _reference_(x: Tensor, *rest: Any) -> None:
    x.copy_(_reference(x, *rest))


library.impl("apply_noise", _reference, "CompositeExplicitAutograd")
library.impl("apply_noise_", _reference_, "CompositeExplicitAutograd")

gpu.register(library, "launch", "apply_noise", "apply_noise_")


def _traced(mode: Any, op: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Replaces the operation where an exporter knows its parts alone."""
    if torch.onnx.is_in_onnx_export():
        with mode:
            return composite.exported(*args)
    return mode.__torch_dispatch__(op, types, args, kwargs)


torch.library.register_torch_dispatch("thinnet::apply_noise", FunctionalTensorMode, _traced, lib=library)


@cache
def _lowered() -> None:
    """Registers the form that the compiler fuses, once somebody traces a CUDA tensor: its import takes a second."""
    from thinnet.ops import inductor

    inductor.register(op)


@torch.library.register_fake("thinnet::apply_noise", lib=library)
def _fake(x: Tensor, *rest: Any) -> Tensor:
    if x.is_cuda:
        _lowered()
    return torch.empty_like(x)


@torch.library.register_fake("thinnet::apply_noise_", lib=library)
def _fake_(x: Tensor, *rest: Any) -> None:
    return None


# The derivative applies the same noise to the gradient. The key gives it again, so no mask is kept.


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, *where, units, options = inputs
    ctx.save_for_backward(*where)
    ctx.rest = units, options | LINEAR


def _backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
    return call(gradients[0], *ctx.saved_tensors, *ctx.rest), *(None,) * 7


torch.library.register_autograd("thinnet::apply_noise", _backward, setup_context=_setup_context, lib=library)


def _vmap(info: Any, in_dims: tuple[Any, ...], x: Tensor, *rest: Any) -> tuple[Tensor, int]:
    where, (strides, offset), options = rest[:5], _mapped_units(in_dims, x, *rest[:6]), rest[6]
    steps = where[2] is not None and where[2].ndim == 1
    if all(dim is None for dim in in_dims[1:6]):
        axis = leading(where[2], where[4])  # steps and samples stay in front; the mapped axis shares every unit
        strides.insert(axis, 0)
        return call(x.movedim(in_dims[0], axis), *where, [*strides, offset], options), axis
    if steps and all(in_dims[i] is None for i in (1, 2, 4, 5)):  # each index of the mapped axis has its own step
        drawn = x.expand(info.batch_size, *x.shape) if in_dims[0] is None else x.movedim(in_dims[0], 0)
        return call(drawn, *where, [0, *strides, offset], options), 0
    if in_dims[5] is not None and not steps and all(dim is None for dim in in_dims[1:5]):  # each index has its own samples
        drawn = x.expand(info.batch_size, *x.shape) if in_dims[0] is None else x.movedim(in_dims[0], 0)
        ids = where[4].movedim(in_dims[5], 0)
        if ids.shape[1] == 1:
            ids = ids + torch.arange(drawn.shape[1], device=ids.device)
        y = call(drawn.flatten(0, 1), *where[:4], ids.flatten(), [*strides, offset], options)
        return y.unflatten(0, drawn.shape[:2]), 0
    rows = [
        [value if dim is None else value.select(dim, i) for value, dim in zip((x, *where), in_dims[:6], strict=True)]
        for i in range(info.batch_size)
    ]
    return torch.stack([call(*row, [*strides, offset], options) for row in rows]), 0


def _mapped_units(in_dims: tuple[Any, ...], x: Tensor, *rest: Any) -> tuple[list[int], int]:
    """Returns the strides and the offset of one index of the mapped axis."""
    step, samples, units = rest[2], rest[4], rest[5]
    x = x if in_dims[0] is None else x.select(in_dims[0], 0)
    step = step if step is None or in_dims[3] is None else step.select(in_dims[3], 0)
    strides, offset = expanded(x, step, samples, list(units))
    return list(strides), offset


torch.library.register_vmap("thinnet::apply_noise", _vmap, lib=library)


op, op_ = torch.ops.thinnet.apply_noise.default, torch.ops.thinnet.apply_noise_.default


def run(x: Tensor, rest: tuple[Any, ...]) -> Tensor:
    """Runs the operation below autograd."""
    if x.is_cuda and gpu.alone(x):
        return gpu.registered["apply_noise"](x, *rest)
    with below_autograd():
        return op(x, *rest)


class _Transformed(torch.autograd.Function):
    """Serves the transforms of `torch.func` and forward mode, which a registered derivative does not."""

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        with below_autograd():
            return op(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[1:6])

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return call(tangents[0], *ctx.saved_tensors, *ctx.rest)

    backward = staticmethod(_backward)
    vmap = staticmethod(_vmap)


class ApplyNoise(EagerFunction):
    """Serves a plain training step at a third of the price: autograd sees one input and does not look at the rest.

    It keeps a few numbers that nobody writes to, so they need no version check either.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rest: tuple[Any, ...]) -> Tensor:
        ctx.rest = rest
        return run(x, rest)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        *rest, options = ctx.rest
        if torch.is_grad_enabled() or torch.compiler.is_compiling():  # somebody differentiates or compiles the backward pass
            return call(gradients[0], *rest, options | LINEAR), None
        return run(gradients[0], (*rest, options | LINEAR)), None


class ApplyNoise_(EagerFunction):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rest: tuple[Any, ...]) -> Tensor:
        ctx.rest = rest
        with below_autograd():
            op_(x, *rest)
        ctx.mark_dirty(x)
        return x

    backward = ApplyNoise.backward


class _Interpreted(torch.autograd.Function):
    """Runs the Triton path on a CPU, in Triton's interpreter: for tests."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rest: tuple[Any, ...]) -> Tensor:
        ctx.rest = rest
        return gpu.registered["apply_noise"](x, *rest)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        *rest, options = ctx.rest
        return gpu.registered["apply_noise"](gradients[0], *rest, options | LINEAR), None


def interpreted(x: Tensor, *rest: Any) -> Tensor:
    """Returns the result of the GPU kernels for a CPU tensor, in Triton's interpreter."""
    return _Interpreted.apply(x, rest)


def interpreted_(x: Tensor, *rest: Any) -> Tensor:
    """Applies noise to `x` in place in Triton's interpreter and returns it."""
    gpu.registered["apply_noise_"](x, *rest)
    return x


def transformed() -> bool:
    """Returns whether forward-mode derivatives or the transforms of `torch.func` are active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def differentiated(x: Tensor) -> bool:
    """Returns whether autograd records what happens to `x`."""
    return x.requires_grad and torch.is_grad_enabled()


def call(x: Tensor, *rest: Any) -> Tensor:
    """Applies noise to `x` by the shortest path that is right here."""
    if torch.compiler.is_compiling():
        return torch.ops.thinnet.apply_noise(x, *rest)
    if transformed():
        return _Transformed.apply(x, *rest)
    return ApplyNoise.apply(x, rest) if differentiated(x) else run(x, rest)  # type: ignore[attr-defined]


def call_(x: Tensor, *rest: Any) -> Tensor:
    """Applies noise to `x` in place and returns it."""
    if torch.compiler.is_compiling() or transformed():
        return x.copy_(call(x, *rest))
    if differentiated(x):
        return ApplyNoise_.apply(x, rest)  # type: ignore[attr-defined]
    with below_autograd():
        op_(x, *rest)
    torch.autograd.graph.increment_version(x)
    return x
