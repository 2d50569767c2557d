"""Makes the toss an operation of PyTorch: schema, fake kernel, derivative, vmap, and the reference where no kernel is."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

from thinnet.ops import reference
from thinnet.ops.reference import NoiseKind

ARGUMENTS = (
    "Tensor rate, Tensor seed, Tensor? step, Tensor? site, Tensor? samples, SymInt[] units, SymInt offset,"
    " int kind, bool linear, str backend"
)

library = torch.library.Library("thinnet", "DEF")
library.define(f"apply_noise(Tensor x, {ARGUMENTS}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
library.define(f"apply_noise_(Tensor(a!) x, {ARGUMENTS}) -> ()", tags=(torch.Tag.pt2_compliant_tag,))
library.define("cpu_path(str backend) -> str")


def _load() -> str | None:
    """Loads the compiled kernels; returns why there are none, if there are none."""
    folder = Path(__file__).parent
    built = [*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]
    if not built:
        return "the C++ kernels were not built; install again with a C++20 compiler at hand"
    try:
        torch.ops.load_library(str(built[0]))
    except OSError as error:
        return f"the C++ kernels do not load: {error}"
    return None


missing = _load()


def _reference(x: Tensor, *rest: Any) -> Tensor:
    *where, units, offset, kind, linear, _ = rest
    return reference.apply_noise(x, where[0], where[1], where[2], where[3], where[4], units, offset, NoiseKind(kind), linear)


def _reference_(x: Tensor, *rest: Any) -> None:
    x.copy_(_reference(x, *rest))


library.impl("apply_noise", _reference, "CompositeExplicitAutograd")
library.impl("apply_noise_", _reference_, "CompositeExplicitAutograd")

missing_triton = None if find_spec("triton") else "Triton is not installed; install thinnet[gpu]"


@cache
def _gpu() -> ModuleType:
    """Imports the Triton kernels on first use."""
    from thinnet.ops.triton import launch

    return launch


def _triton(x: Tensor, *rest: Any) -> Tensor:
    return _gpu().apply_noise(x, *rest)


def _triton_(x: Tensor, *rest: Any) -> None:
    _gpu().apply_noise_(x, *rest)


if missing_triton is None:
    library.impl("apply_noise", _triton, "CUDA")
    library.impl("apply_noise_", _triton_, "CUDA")


@torch.library.register_fake("thinnet::apply_noise", lib=library)
def _fake(x: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(x)


@torch.library.register_fake("thinnet::apply_noise_", lib=library)
def _fake_(x: Tensor, *rest: Any) -> None:
    return None


# The derivative of a toss is the toss of the gradient with the same coins: they have a name, so no mask is kept.


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, *where, units, offset, kind, _, backend = inputs
    ctx.save_for_backward(*where)
    ctx.rest = units, offset, kind, True, backend


def _backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
    return call(gradients[0], *ctx.saved_tensors, *ctx.rest), *(None,) * 10


torch.library.register_autograd("thinnet::apply_noise", _backward, setup_context=_setup_context, lib=library)


def _vmap(info: Any, in_dims: tuple[Any, ...], x: Tensor, *rest: Any) -> tuple[Tensor, int]:
    where, units, rest = rest[:5], list(rest[5]), rest[6:]
    if all(dim is None for dim in in_dims[1:6]):
        steps = where[2] is not None and where[2].ndim == 1
        axis = steps + (where[-1] is not None)  # steps and samples stay in front; the mapped axis shares every coin
        units.insert(axis, 0)
        return call(x.movedim(in_dims[0], axis), *where, units, *rest), axis
    if where[2] is not None and where[2].ndim == 1 and all(in_dims[i] is None for i in (1, 2, 4, 5)):  # each draw has its step
        drawn = x.expand(info.batch_size, *x.shape) if in_dims[0] is None else x.movedim(in_dims[0], 0)
        return call(drawn, *where, [0, *units], *rest), 0
    rows = [
        [value if dim is None else value.select(dim, i) for value, dim in zip((x, *where), in_dims[:6], strict=True)]
        for i in range(info.batch_size)
    ]
    return torch.stack([call(*row, units, *rest) for row in rows]), 0


torch.library.register_vmap("thinnet::apply_noise", _vmap, lib=library)


_apply_noise, _apply_noise_ = torch.ops.thinnet.apply_noise.default, torch.ops.thinnet.apply_noise_.default
below_autograd = torch._C._AutoDispatchBelowAutograd


class _Transformed(torch.autograd.Function):
    """The toss for the transforms of `torch.func` and for forward mode, which a registered derivative does not serve."""

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        with below_autograd():
            return _apply_noise(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[1:6])

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return call(tangents[0], *ctx.saved_tensors, *ctx.rest)

    backward = staticmethod(_backward)
    vmap = staticmethod(_vmap)


class _Eager(_SingleLevelFunction):
    """The toss of a plain training step, at a third of the price: autograd sees one input and does not look at the rest.

    What is kept are a few numbers that nobody writes to, so they need no watch either.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rest: tuple[Any, ...]) -> Tensor:
        ctx.rest = rest
        with below_autograd():
            return _apply_noise(x, *rest)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        *where, _, backend = ctx.rest
        if torch.is_grad_enabled():  # somebody differentiates the gradient
            return call(gradients[0], *where, True, backend), None
        with below_autograd():
            return _apply_noise(gradients[0], *where, True, backend), None


class _InPlace(_SingleLevelFunction):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rest: tuple[Any, ...]) -> Tensor:
        ctx.rest = rest
        with below_autograd():
            _apply_noise_(x, *rest)
        ctx.mark_dirty(x)
        return x

    backward = _Eager.backward


class _Interpreted(torch.autograd.Function):
    """The Triton path on a CPU, by Triton's interpreter: for tests."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rest: tuple[Any, ...]) -> Tensor:
        ctx.rest = rest
        return _triton(x, *rest)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        *where, _, backend = ctx.rest
        return _triton(gradients[0], *where, True, backend), None


def interpreted(x: Tensor, *rest: Any) -> Tensor:
    """Returns what the kernels of a GPU make of a CPU tensor in Triton's interpreter."""
    return _Interpreted.apply(x, rest)


def interpreted_(x: Tensor, *rest: Any) -> Tensor:
    """Tosses `x` in place in Triton's interpreter and returns it."""
    _triton_(x, *rest)
    return x


def transformed() -> bool:
    """Returns whether forward-mode derivatives or the transforms of `torch.func` are at work."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def differentiated(x: Tensor) -> bool:
    """Returns whether autograd has to hear of what happens to `x`."""
    return x.requires_grad and torch.is_grad_enabled()


def call(x: Tensor, *rest: Any) -> Tensor:
    """Returns the toss of `x` by the shortest way that is right here."""
    if torch.compiler.is_compiling():
        return torch.ops.thinnet.apply_noise(x, *rest)
    if transformed():
        return _Transformed.apply(x, *rest)
    if differentiated(x):
        return _Eager.apply(x, rest)  # type: ignore[attr-defined]
    with below_autograd():
        return _apply_noise(x, *rest)


def call_(x: Tensor, *rest: Any) -> Tensor:
    """Tosses `x` in place and returns it."""
    if torch.compiler.is_compiling() or transformed():
        return x.copy_(call(x, *rest))
    if differentiated(x):
        return _InPlace.apply(x, rest)  # type: ignore[attr-defined]
    with below_autograd():
        _apply_noise_(x, *rest)
    torch.autograd.graph.increment_version(x)
    return x
