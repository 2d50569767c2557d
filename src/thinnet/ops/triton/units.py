"""Launches the Triton kernels of noise and factors of units, and of blocks. Tensors are contiguous: see ops/units.py."""

from math import prod
from typing import Any

import torch
import triton
from torch import Tensor

from thinnet.ops.triton import units_kernels
from thinnet.ops.triton.fused import has_first
from thinnet.ops.triton.launch import TILE_BYTES, Plan, launch

kernels: Any = units_kernels  # a launch takes options that the signature of a kernel does not have
SEGMENT = 64  # units that share sixteen blocks


def joined(sizes: tuple[int, ...], strides: tuple[int, ...]) -> list[tuple[int, int]]:
    """Returns size and stride of the axes of more than one element, innermost first; those that continue each other are one.

    >>> joined((2, 3, 4, 5), (0, 1, 0, 0)), joined((2, 3), (3, 1))
    ([(20, 0), (3, 1), (2, 0)], [(6, 1)])
    """
    found: list[tuple[int, int]] = []
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        if found and stride == found[-1][0] * found[-1][1]:
            found[-1] = found[-1][0] * size, found[-1][1]
        elif size != 1:
            found.append((size, stride))
    return found or [(1, 0)]


def select_units(x: Tensor, rate: Tensor, scale: Tensor, first: int, *address: Any) -> Tensor:
    """Returns x scale where uniform noise is at least the rate, else zeros."""
    return _run(units_kernels.SELECT.value, x, rate, scale, first, *address)


def scale_units(x: Tensor, scale: Tensor) -> Tensor:
    """Returns x scale, and zeros where the scale is 0."""
    return _run(units_kernels.SCALE.value, x, None, scale, 0, None, None, None, None)


def gaussian_units(x: Tensor, scale: Tensor, *address: Any) -> Tensor:
    """Returns x (1 + scale z)."""
    return _run(units_kernels.GAUSSIAN.value, x, None, scale, 0, *address)


def add_gaussian(x: Tensor, scale: Tensor, *address: Any) -> Tensor:
    """Returns x + scale z."""
    return _run(units_kernels.ADDED.value, x, None, scale, 0, *address)


def _run(rule: int, x: Tensor, rate: Tensor | None, scale: Tensor, first: int, *address: Any) -> Tensor:
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    *rest, samples = address
    samples = None if samples is None else samples.contiguous()
    layout = "units", rule, x.dtype, x.shape, scale.stride(), first, has_first(samples), samples is None

    def plan() -> Plan:
        by_row = samples is not None or first > 0
        rows = x.shape[0] if by_row else 1
        units = x.numel() // rows
        axes = joined(tuple(x.shape)[by_row:], scale.stride()[by_row:])
        unit_row = 0 if samples is not None else first + units
        skip = first % SEGMENT != 0 or (rows > 1 and unit_row % SEGMENT != 0)
        segments, tile = -(-(units + (SEGMENT - 1 if skip else 0)) // SEGMENT), TILE_BYTES // x.element_size() // SEGMENT
        constants = {"RULE": rule, "AXES": len(axes), "STEP": axes[0][1], "FIRST": has_first(samples), "ROWS": rows > 1}
        constants |= {"SKIP": skip, "LARGE": units + tile * SEGMENT >= 1 << 31, "TILE": tile}
        numbers = units, segments, rows * segments, unit_row, first, scale.stride(0) if by_row else 0, *zip(*axes, strict=True)
        return Plan(kernels.units_kernel, -(-rows * segments // tile), numbers, constants)

    launch((y, x, rate, scale, *rest, samples), layout, plan)
    return y


def drop_blocks(x: Tensor, scale: Tensor, threshold: int, block: list[int], shared: bool, *address: Any) -> Tensor:
    """Returns `x` times the scale of each position where no block is dropped, and zeros elsewhere."""
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    *rest, samples = address
    samples = None if samples is None else samples.contiguous()
    sides, sizes = ((1,) * (3 - len(block)) + tuple(each) for each in (block, x.shape[2:]))
    grid = [size - side + 1 for size, side in zip(sizes, sides, strict=True)]
    maps = x.shape[0] * (1 if shared else x.shape[1])
    rows = 1 if samples is None else x.shape[0]
    segments = -(-maps // rows * prod(grid) // SEGMENT)
    bits = torch.empty(rows * segments, dtype=torch.int64, device=x.device)
    layout = "seeds", rows, segments, threshold, has_first(samples), samples is None

    def draw() -> Plan:
        constants = {"FIRST": has_first(samples), "ROWS": rows > 1, "TILE": 32}
        return Plan(kernels.seeds_kernel, -(-rows * segments // 32), (segments, rows * segments, threshold), constants)

    launch((bits, *rest, samples), layout, draw)

    def drop() -> Plan:
        words = -(-sizes[2] // 32)
        tile = min(triton.next_power_of_2(words), 32)
        height = max(1, TILE_BYTES // x.element_size() // (32 * tile))
        lines = x.numel() // sizes[2]
        of_map = 0 if shared else prod(grid)
        of_sample = SEGMENT * segments if samples is not None else prod(grid) * (1 if shared else x.shape[1])
        numbers = lines, -(-words // tile), rows * segments, of_sample, of_map, x.shape[1], *sizes, *grid, *sides[:2]
        constants = {"BLOCK": sides[2], "HEIGHT": height, "WORDS": tile}
        return Plan(kernels.blocks_kernel, -(-lines // height) * -(-words // tile), numbers, constants)

    launch((y, x, scale, bits), ("blocks", x.dtype, x.shape, sides, shared, samples is None), drop)
    return y
