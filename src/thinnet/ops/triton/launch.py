"""Chooses the kernel for the memory layout of a tensor, and launches it.

A launch is planned once for each layout. Triton's own launcher looks at every argument again in each call, which takes longer
than the kernel on tensors below some million elements: the compiled kernel is kept and called directly.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from thinnet.ops.arguments import LINEAR, expanded
from thinnet.ops.reference import NoiseKind
from thinnet.ops.triton import kernels as _kernels

kernels: Any = _kernels  # a launch takes options that the signature of a kernel does not have
SHORT = 32  # rows and runs below are served element by element
TILE_BYTES = 8192  # what a program of four warps reads
COMPILED = {"num_warps": 4, "enable_fp_fusion": False}  # a fused multiply-add rounds differently from the reference


class Axis(NamedTuple):
    """The strides of an axis: in `x`, in `y`, in the units and in the samples."""

    size: int
    x: int
    y: int
    unit: int
    sample: int


class Plan(NamedTuple):
    """A launch without its tensors: the kernel, how many programs run, and its arguments behind the tensors."""

    kernel: Any
    programs: int
    numbers: tuple[Any, ...]
    constants: dict[str, Any]  # in the order of the kernel's signature
    warps: int = 0  # of a program; 0 for those of `COMPILED`


Layout = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # sizes, strides of x, of y, of units


@lru_cache(maxsize=4096)
def axes_of(layout: Layout, has_samples: bool) -> tuple[Axis, ...]:
    """Returns the axes of more than one element, outermost in the memory of `y` first; contiguous neighbours are joined."""
    rows = [int(has_samples and axis == 0) for axis in range(len(layout[0]))]
    axes = [Axis(*numbers) for numbers in zip(*layout, rows, strict=True) if numbers[0] != 1]
    joined: list[Axis] = []
    for axis in sorted(axes, key=lambda axis: -axis.y):
        if joined and joined[-1][1:] == tuple(step * axis.size for step in axis[1:]):
            axis = axis._replace(size=joined.pop().size * axis.size)
        joined.append(axis)
    return tuple(joined) or (Axis(1, 1, 1, 1, 0),)


def apply_noise(x: Tensor, *rest: Any) -> Tensor:
    """Applies noise to `x` as ops/reference.py defines it; the result has the memory format of `x`."""
    y = torch.empty_like(x)
    _run(x, y, *rest)
    return y


def apply_noise_(x: Tensor, *rest: Any) -> None:
    """Applies noise to `x` in place."""
    _run(x, x, *rest)


def _run(
    x: Tensor,
    y: Tensor,
    rate: Tensor,
    seed: Tensor,
    step: Tensor | None,
    site: Tensor | None,
    samples: Tensor | None,
    units: Sequence[int],
    options: int,
) -> None:
    if x.numel() == 0:
        return
    if step is not None and step.ndim == 1:
        strides, offset = expanded(x, step, samples, list(units))
        for i in range(len(x)):
            _run(x[i], y[i], rate, seed, step[i], site, samples, [*strides[1:], offset + i * strides[0]], options)
        return
    if samples is not None:
        samples = samples.contiguous()
    one_id = samples is None or samples.numel() == 1
    layout = x.dtype, x.shape, x.stride(), y.stride(), tuple(units), options, one_id
    launch((y, x, rate, seed, step, site, samples), layout, lambda: plan_of(x, y, step, samples, units, options))


_launches: dict[Any, tuple[Callable[..., None], tuple[Any, ...]]] = {}
KEPT = 4096


def launch(tensors: Sequence[Tensor | None], layout: Hashable, plan: Callable[[], Plan]) -> None:
    """Launches a kernel, by the path that the first call with this layout has found.

    Args:
        tensors: the first arguments of the kernel.
        layout: what the plan is a function of, and the dtypes of the tensors.
        plan: what to launch.
    """
    first = tensors[0]
    assert first is not None
    device = first.get_device()
    if device >= 0 and device != torch.cuda.current_device():
        with torch.cuda.device(device):
            return launch(tensors, layout, plan)
    pointers = [None if each is None else each.data_ptr() for each in tensors]
    key = device, layout, *[None if each is None else each & 15 for each in pointers]  # Triton compiles for alignment
    found = _launches.get(key)
    if found is not None:
        found[0](*pointers, *found[1])  # Triton would ask the driver about each tensor
        return
    kernel, programs, numbers, constants, warps = plan()
    options = COMPILED | ({"num_warps": warps} if warps else {})
    grid = programs, 1, 1
    compiled = kernel[grid](*tensors, *numbers, **constants, **options)
    if compiled is not None:  # the interpreter compiles nothing
        if len(_launches) >= KEPT:
            _launches.clear()
        _launches[key] = compiled[grid], (*numbers, *constants.values())


def plan_of(x: Tensor, y: Tensor, step: Tensor | None, samples: Tensor | None, units: Sequence[int], options: int) -> Plan:
    """Returns the launch that serves a layout."""
    strides, offset = expanded(x, step, samples, list(units))
    axes = axes_of((tuple(x.shape), x.stride(), y.stride(), tuple(strides)), samples is not None)
    kind = options & 3
    constants = {"KIND": kind, "LINEAR": bool(options & LINEAR) and kind == NoiseKind.ALPHA}
    constants["FIRST"] = samples is None or samples.numel() == 1
    last, elements = axes[-1], TILE_BYTES // x.element_size()
    if last.x == last.y == 1 and last.sample == 0 and (len(axes) == 1 or last.size >= SHORT):
        if last.unit == 1 and len(axes) <= 2:
            return _segments(axes, offset, elements, constants)
        if last.unit == 0 and len(axes) <= 3:
            return _runs(axes, offset, elements, constants)
    return _strided(axes, offset, constants)


def _segments(axes: tuple[Axis, ...], offset: int, elements: int, constants: dict[str, Any]) -> Plan:
    units = axes[-1].size
    rows, *steps = axes[0] if len(axes) == 2 else Axis(1, 0, 0, 0, 0)
    length = 64 if constants["KIND"] >= NoiseKind.GAUSSIAN else 128
    skip = offset % length != 0 or steps[2] % length != 0
    segments = -(-(units + (length - 1 if skip else 0)) // length)
    total = rows * segments
    full = 0 if skip else total if units % length == 0 else units // length if rows == 1 else 0
    tile = elements // length
    numbers = *steps, units, segments, total, full, offset
    return Plan(kernels.segments_kernel, -(-total // tile), numbers, constants | {"ROWS": rows > 1, "SKIP": skip, "TILE": tile})


def _runs(axes: tuple[Axis, ...], offset: int, elements: int, constants: dict[str, Any]) -> Plan:
    inner = axes[-1].size
    a, b = (*(Axis(1, 0, 0, 0, 0),) * (3 - len(axes)), *axes[:-1])
    width = min(triton.next_power_of_2(inner), elements)
    height, rows, chunks = elements // width, a.size * b.size, -(-inner // width)
    steps = [step for pair in zip(a[1:], b[1:], strict=True) for step in pair]
    numbers = *steps, b.size, rows, inner, chunks, offset
    return Plan(kernels.runs_kernel, -(-rows // height) * chunks, numbers, constants | {"HEIGHT": height, "WIDTH": width})


def _strided(axes: tuple[Axis, ...], offset: int, constants: dict[str, Any]) -> Plan:
    count, block = prod(axis.size for axis in axes), 512
    numbers = *zip(*reversed(axes), strict=True), count, offset
    large = count + block > 1 << 31
    return Plan(kernels.strided_kernel, -(-count // block), numbers, constants | {"LARGE": large, "BLOCK": block})
