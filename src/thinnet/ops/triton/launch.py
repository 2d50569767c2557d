"""From tensors to a launch: which kernel serves the memory of a tensor, and with which numbers."""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from thinnet.ops import schema
from thinnet.ops.reference import NoiseKind
from thinnet.ops.triton import kernels as _kernels

kernels: Any = _kernels  # a launch takes options that the signature of a kernel does not have
SHORT = 32  # rows and runs below are served element by element
TILE_BYTES = 8192  # what a program of four warps reads


class Axis(NamedTuple):
    """How far a step along an axis moves in `x`, in `y`, in the units and in the samples."""

    size: int
    x: int
    y: int
    unit: int
    sample: int


Layout = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # sizes, strides of x, of y, of units


@lru_cache(maxsize=4096)
def axes_of(layout: Layout, has_samples: bool) -> tuple[Axis, ...]:
    """Returns the axes of more than one element, outermost in the memory of `y` first; such as continue each other, joined."""
    named = [int(has_samples and axis == 0) for axis in range(len(layout[0]))]
    axes = [Axis(*numbers) for numbers in zip(*layout, named, strict=True) if numbers[0] != 1]
    joined: list[Axis] = []
    for axis in sorted(axes, key=lambda axis: -axis.y):
        if joined and joined[-1][1:] == tuple(step * axis.size for step in axis[1:]):
            axis = axis._replace(size=joined.pop().size * axis.size)
        joined.append(axis)
    return tuple(joined) or (Axis(1, 1, 1, 1, 0),)


def apply_noise(
    x: Tensor,
    rate: Tensor,
    seed: Tensor,
    step: Tensor | None,
    site: Tensor | None,
    samples: Tensor | None,
    units: list[int],
    options: int,
) -> Tensor:
    """Returns `rule(coin, x)` as ops/reference.py defines it, in the memory format of `x`."""
    y = torch.empty_like(x)
    apply_noise_to(x, y, (rate, seed, step, site, samples), units, options)
    return y


def apply_noise_(
    x: Tensor,
    rate: Tensor,
    seed: Tensor,
    step: Tensor | None,
    site: Tensor | None,
    samples: Tensor | None,
    units: list[int],
    options: int,
) -> None:
    """Writes `rule(coin, x)` into `x`."""
    apply_noise_to(x, x, (rate, seed, step, site, samples), units, options)


def apply_noise_to(x: Tensor, y: Tensor, where: tuple[Tensor | None, ...], units: list[int], options: int) -> None:
    """Writes `x` with noise into `y`."""
    strides, offset = schema.expanded(x, where[2], where[4], units)
    _run(x, y, where, strides, offset, options & 3, bool(options & schema.LINEAR))


def _run(
    x: Tensor,
    y: Tensor,
    where: tuple[Tensor | None, ...],
    units: list[int],
    offset: int,
    kind: int,
    linear: bool,
) -> None:
    if x.numel() == 0:
        return
    step, samples = where[2], where[-1]
    if step is not None and step.ndim == 1:
        for i in range(len(x)):
            _run(x[i], y[i], (*where[:2], step[i], *where[3:]), units[1:], offset + i * units[0], kind, linear)
        return
    if samples is not None:
        where = *where[:-1], samples.contiguous()
    axes = axes_of((tuple(x.shape), x.stride(), y.stride(), tuple(units)), samples is not None)
    tensors = y, x, *where
    options = {"KIND": kind, "LINEAR": linear and kind == NoiseKind.ALPHA, "FIRST": samples is None or samples.numel() == 1}
    if x.is_cuda and x.get_device() != torch.cuda.current_device():
        with torch.cuda.device(x.device):
            return _launch(tensors, axes, offset, options)
    return _launch(tensors, axes, offset, options)


def _launch(tensors: tuple[Tensor | None, ...], axes: tuple[Axis, ...], offset: int, options: dict[str, int]) -> None:
    last = axes[-1]
    if last.x == last.y == 1 and last.sample == 0 and (len(axes) == 1 or last.size >= SHORT):
        if last.unit == 1 and len(axes) <= 2:
            return _segments(tensors, axes, offset, options)
        if last.unit == 0 and len(axes) <= 3:
            return _runs(tensors, axes, offset, options)
    return _strided(tensors, axes, offset, options)


def _item_size(tensors: tuple[Tensor | None, ...]) -> int:
    assert tensors[0] is not None
    return tensors[0].element_size()


def _segments(tensors: tuple[Tensor | None, ...], axes: tuple[Axis, ...], offset: int, options: dict[str, int]) -> None:
    units = axes[-1].size
    rows, *steps = axes[0] if len(axes) == 2 else Axis(1, 0, 0, 0, 0)
    length = 64 if options["KIND"] >= NoiseKind.GAUSSIAN else 128
    skip = offset % length != 0 or steps[2] % length != 0
    segments = -(-(units + (length - 1 if skip else 0)) // length)
    total = rows * segments
    full = 0 if skip else total if units % length == 0 else units // length if rows == 1 else 0
    tile = TILE_BYTES // (length * _item_size(tensors))
    numbers = *steps, units, segments, total, full, offset
    kernel = kernels.segments_kernel[(-(-total // tile),)]
    kernel(*tensors, *numbers, **options, ROWS=rows > 1, SKIP=skip, TILE=tile, num_warps=4, enable_fp_fusion=False)


def _runs(tensors: tuple[Tensor | None, ...], axes: tuple[Axis, ...], offset: int, options: dict[str, int]) -> None:
    inner = axes[-1].size
    a, b = (*(Axis(1, 0, 0, 0, 0),) * (3 - len(axes)), *axes[:-1])
    elements = TILE_BYTES // _item_size(tensors)
    width = min(triton.next_power_of_2(inner), elements)
    height, rows, chunks = elements // width, a.size * b.size, -(-inner // width)
    steps = [step for pair in zip(a[1:], b[1:], strict=True) for step in pair]
    kernel = kernels.runs_kernel[(-(-rows // height) * chunks,)]
    numbers = *steps, b.size, rows, inner, chunks, offset
    kernel(*tensors, *numbers, **options, HEIGHT=height, WIDTH=width, num_warps=4, enable_fp_fusion=False)


def _strided(tensors: tuple[Tensor | None, ...], axes: tuple[Axis, ...], offset: int, options: dict[str, int]) -> None:
    count = 1
    for axis in axes:
        count *= axis.size
    block, columns = 512, zip(*reversed(axes), strict=True)
    kernel = kernels.strided_kernel[(-(-count // block),)]
    large = count + block > 1 << 31
    kernel(*tensors, *columns, count, offset, **options, LARGE=large, BLOCK=block, num_warps=4, enable_fp_fusion=False)
