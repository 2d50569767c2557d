"""The entry point `apply_noise`: checks the tensor and calls the kernel that serves it."""

from typing import Any

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active, _is_tracing
from torch.autograd import forward_ad
from torch.compiler import is_compiling

from thinnet.ops import composite, dtensor, reference, schema
from thinnet.ops.arguments import options_of, unit_strides
from thinnet.ops.part import Part
from thinnet.ops.reference import NoiseKind, Where

REAL = frozenset((torch.float32, torch.float64, torch.bfloat16, torch.float16))
COMPLEX = frozenset((torch.complex64, torch.complex128))


def apply_noise(
    x: Tensor,
    rate: Tensor,
    seed: Tensor,
    *,
    step: Tensor | None = None,
    site: Tensor | None = None,
    samples: Tensor | None = None,
    shared_axes: tuple[int, ...] = (),
    kind: NoiseKind = NoiseKind.INVERTED,
    inplace: bool = False,
    part: Part | None = None,
    function: str = "apply_noise",
    backend: str = "auto",
) -> Tensor:
    """Applies noise to `x`: each element reads the random bits of its unit.

    The unit of an element is its row-major index over the axes that are not in `shared_axes`. With `samples`, axis 0 counts
    samples and not units.

    Args:
        x: float32, float64, bfloat16, float16, complex64 or complex128 (one unit a number), of any shape and strides.
        rate: the rate in 65536ths, a 0-d int32 tensor on the device of `x`.
        seed: a 0-d int64 tensor, like `step` and `site`, which are 0 where they are left out.
        samples: int64, one id for each row of axis 0, or a single one from which the rows count on.
        shared_axes: the axes along which all elements have the same noise.
        kind: what the random bits do to a number.
        inplace: writes the result into `x`.
        part: which part of a tensor that ranks share `x` is; then its units are those of the whole.
        function: the name that an error gives.
        backend: "auto", or one of `thinnet.ops.backends()["cpu"]`, or "reference"; for tests and benchmarks.

    Returns: a tensor with the shape, dtype and memory format of `x`.

    Raises:
        TypeError: `x` is an integer, bool, quantised or sparse tensor.
        RuntimeError: `inplace` on a tensor that autograd would refuse to change.

    >>> x, half, seed = torch.ones(8), torch.tensor(32768, dtype=torch.int32), torch.tensor(3)
    >>> apply_noise(x, half, seed)
    tensor([2., 0., 2., 0., 2., 0., 0., 2.])
    """
    compiling = is_compiling()
    if not compiling and _is_tracing():
        y = composite.traced(check_input(x, function), rate, site is not None, shared_axes, kind, function)
        return write(x, y, function) if inplace else y
    plain = type(x) is Tensor and x.dtype in REAL and x.layout is torch.strided and not x.is_nested
    if plain and backend == "auto" and not inplace and part is None:
        units = [*unit_strides(x.shape, shared_axes, samples is not None), 0] if shared_axes else []
        rest = rate, seed, step, site, samples, units, int(kind)
        if compiling or _are_functorch_transforms_active() or forward_ad._current_level >= 0:
            return schema.call(x, *rest)
        if x.requires_grad and torch.is_grad_enabled():
            return schema.ApplyNoise.apply(x, rest)  # type: ignore[attr-defined]
        return schema.run(x, rest)  # nearly every call: as schema.call, without three calls of Python
    where = rate, seed, step, site, samples
    if x.is_nested:
        return _nested(x, where, shared_axes, kind, inplace, function, backend)
    if part is not None:
        return _part(x, where, shared_axes, part, kind, inplace, function, backend)
    units = unit_strides(x.shape, shared_axes, samples is not None)
    if type(x) is not Tensor and dtensor.is_sharded(x):
        part, where, offset = dtensor.part(x, where, units, function)  # type: ignore[arg-type]
        y = dtensor.whole(_dense(part, where, units, offset, kind, False, function, backend), x)  # type: ignore[arg-type]
        return write(x, y, function) if inplace else y
    return _dense(x, where, units, 0, kind, inplace, function, backend)


def _part(
    x: Tensor,
    where: Where,
    shared_axes: tuple[int, ...],
    part: Part,
    kind: NoiseKind,
    inplace: bool,
    function: str,
    backend: str,
) -> Tensor:
    """Applies to the rows of a rank the noise that they have in the whole tensor."""
    axis = part.axis % x.ndim
    whole = [size * part.ranks if each == axis else size for each, size in enumerate(x.shape)]
    units, drawn = unit_strides(whole, shared_axes, where[4] is not None), []
    for begin, end, first in part.pieces(x.shape[axis]):
        rows = x.narrow(axis, begin, end - begin)
        drawn.append(_dense(rows, where, units, first * units[axis], kind, False, function, backend))
    y = drawn[0] if len(drawn) == 1 else torch.cat(drawn, axis)
    return write(x, y, function) if inplace else y


def _dense(
    x: Tensor,
    where: Where,
    units: list[int],
    offset: int,
    kind: NoiseKind,
    inplace: bool,
    function: str,
    backend: str,
) -> Tensor:
    if x.dtype in REAL and x.layout == torch.strided:
        return _run(x, where, units, offset, kind, inplace, function, backend)
    check_input(x, function)
    pairs = torch.view_as_real(x.resolve_conj())
    y = torch.view_as_complex(_run(pairs, where, [*units, 0], offset, kind, False, function, backend))
    return write(x, y, function) if inplace else y


def _run(
    x: Tensor,
    where: Where,
    units: list[int],
    offset: int,
    kind: NoiseKind,
    inplace: bool,
    function: str,
    backend: str,
) -> Tensor:
    if backend == "reference":
        y = reference.apply_noise(x, *where, units, offset, kind, False)
        return write(x, y, function) if inplace else y
    interpreted = backend == "triton" and x.device.type == "cpu"
    run, run_ = (schema.interpreted, schema.interpreted_) if interpreted else (schema.call, schema.call_)
    options = options_of(kind, backend="auto" if backend == "triton" else backend)
    negated = inplace and not is_compiling() and x.is_neg()  # the imaginary part of a conjugate: no kernel writes into it
    if not inplace or negated:
        y = run(x, *where, [*units, offset], options)
        return write(x, y, function) if inplace else y
    _check_inplace(x, function)
    return run_(x, *where, [*units, offset], options)


def write(x: Tensor, y: Tensor, function: str) -> Tensor:
    """Writes `y` into `x` and returns it, or refuses as autograd does."""
    _check_inplace(x, function)
    return x.copy_(y)


def _nested(
    x: Any,  # a Tensor subclass with offsets, lengths and a ragged axis
    where: Where,
    shared_axes: tuple[int, ...],
    kind: NoiseKind,
    inplace: bool,
    function: str,
    backend: str,
) -> Tensor:
    rate, seed, *_, samples = where
    if shared_axes or samples is not None or inplace:
        rule = "a nested tensor takes noise for each element, without addresses and not in place"
        raise TypeError(f"{function}: {rule}. Use x.to_padded_tensor(0.0) first.")
    if x.layout is torch.strided:
        return _parts(x, where, kind, function, backend)
    values = apply_noise(x.values(), rate, seed, kind=kind, function=function, backend=backend)
    return torch.nested.nested_tensor_from_jagged(values, x.offsets(), x.lengths(), jagged_dim=x._ragged_idx)


def _parts(x: Tensor, where: Where, kind: NoiseKind, function: str, backend: str) -> Tensor:
    """Applies noise to the parts of a strided nested tensor, which count their units one after another."""
    parts, first = [], 0
    for part in x.unbind():
        parts.append(_dense(part, where, unit_strides(part.shape, (), 0), first, kind, False, function, backend))
        first += part.numel()
    return torch.nested.as_nested_tensor(parts)


def check_input(x: Tensor, function: str) -> Tensor:
    """Returns `x`; raises a TypeError where it is no dense tensor of floating-point or complex numbers."""
    if x.layout != torch.strided:
        raise TypeError(f"{function}: x must be a dense tensor; got layout {x.layout}. Pass x.values() or x.to_dense().")
    if x.dtype not in REAL and x.dtype not in COMPLEX:
        step = "Call x.dequantize() first." if x.is_quantized else "Call x.float() first."
        raise TypeError(f"{function}: x must be a floating-point or complex tensor; got {x.dtype}. {step}")
    return x


def _check_inplace(x: Tensor, function: str) -> None:
    """Refuses what autograd or the memory of `x` does not allow, before anything is written."""
    step = "Use inplace=False."
    if torch.is_grad_enabled() and not is_compiling():
        base = x._base if x._is_view() else x
        if base is not None and base.is_leaf and base.requires_grad:
            kind = "a leaf Variable" if base is x else "a view of a leaf Variable"
            raise RuntimeError(f"{function}: {kind} that requires grad cannot be changed in place. {step}")
    if not is_compiling() and x.is_inference() and not torch.is_inference_mode_enabled():
        raise RuntimeError(f"{function}: an inference tensor cannot be changed in place outside of inference mode. {step}")
    if any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True)):
        raise RuntimeError(f"{function}: an expanded tensor holds several elements in one place. {step}")
