"""Takes parts out of matrices and puts them back into zeros, in Triton: every number is read once and written once.

`put` first notes for each row and column of the whole which of the part it is: so each number of the whole is written once,
zeros too, and the groups are added up in their order.
"""

# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false
# (in a kernel, Triton's compiler and not Python says what these mean)

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from thinnet.ops.triton.bits import rounded, wide
from thinnet.ops.triton.launch import TILE_BYTES, Plan, launch

WIDEST = 1024  # columns of a program
INVERTED = 1024  # places that a program notes at once


@triton.jit
def tile_of(across, down, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Returns the group, the rows and the columns of a program."""
    program = tl.program_id(0)
    row = program // across % down * HEIGHT + tl.arange(0, HEIGHT)
    return (program // across // down).to(tl.int64), row, program % across * WIDTH + tl.arange(0, WIDTH)


@triton.jit
def rows_of(index, first, row, count):
    """Returns which row an index has for each of `count` rows, -1 behind them; the row itself where there is no index."""
    if index is None:
        return tl.where(row < count, row, -1).to(tl.int64)
    else:
        return tl.load(index + first + row, mask=row < count, other=-1).to(tl.int64)


@triton.jit
def places_of(index, first, q, count, run, most):
    """Returns the same for numbers of a row, `run` of which make a column, and whether there are such places."""
    if index is None:
        return q, q < count * run
    else:
        column = tl.load(index + first + q // run, mask=q < count * run, other=-1).to(tl.int64)
        return column * run + q % run, (column >= 0) & (column < most)


@triton.jit(do_not_specialize=["across", "down", "some_rows", "all_rows"])
def take_kernel(
    y, x, rows, columns, across, down, some_rows, all_rows, some_columns, all_columns, run,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """y[g, i, j, :] = x[rows[g, i], columns[g, j], :]; nan where there is no such place."""
    group, i, q = tile_of(across, down, HEIGHT, WIDTH)
    row = rows_of(rows, group * some_rows, i, some_rows)
    place, exists = places_of(columns, group * some_columns, q, some_columns, run, all_columns)
    there = ((row >= 0) & (row < all_rows))[:, None] & exists[None, :]
    value = tl.load(x + (row * (all_columns * run))[:, None] + place[None, :], mask=there, other=float("nan"))
    at = (group * some_rows + i)[:, None] * (some_columns * run) + q[None, :]
    tl.store(y + at, value, mask=(i < some_rows)[:, None] & (q < some_columns * run)[None, :])


@triton.jit(do_not_specialize=["some", "count"])
def inverse_kernel(inverse, index, some, count, BLOCK: tl.constexpr):
    """Notes for each of `count` places which of `some` it is, or -1. A program has a group."""
    group = tl.program_id(0).to(tl.int64)
    for begin in range(0, count, BLOCK):
        place = begin + tl.arange(0, BLOCK)
        tl.store(inverse + group * count + place, place * 0 - 1, mask=place < count)
    tl.debug_barrier()  # what all threads of the program have written
    for begin in range(0, some, BLOCK):
        i = begin + tl.arange(0, BLOCK)
        place = tl.load(index + group * some + i, mask=i < some, other=-1)
        tl.store(inverse + group * count + place, i, mask=(place >= 0) & (place < count))


@triton.jit(do_not_specialize=["across", "down", "groups", "some_rows", "all_rows"])
def put_kernel(
    y, x, rows, columns, across, down, groups, some_rows, all_rows, some_columns, all_columns, run,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """y = zeros, to which the parts of all groups are added. `rows` and `columns` are inverse indices."""
    zero, i, q = tile_of(across, down, HEIGHT, WIDTH)
    total = wide(tl.zeros((HEIGHT, WIDTH), y.dtype.element_ty))
    for number in range(groups):
        group = zero + number
        row = rows_of(rows, group * all_rows, i, all_rows)
        place, exists = places_of(columns, group * all_columns, q, all_columns, run, some_columns)
        at = ((group * some_rows + row) * (some_columns * run))[:, None] + place[None, :]
        total += wide(tl.load(x + at, mask=(row >= 0)[:, None] & exists[None, :], other=0.0))
    at = i.to(tl.int64)[:, None] * (all_columns * run) + q[None, :]
    inside = (i < all_rows)[:, None] & (q < all_columns * run)[None, :]
    tl.store(y + at, rounded(total, y.dtype.element_ty), mask=inside)


kernels: dict[str, Any] = {each.__name__: each for each in (take_kernel, inverse_kernel, put_kernel)}


def _tiles(x: Tensor, rows: int, width: int) -> tuple[tuple[int, int], dict[str, int]]:
    """Returns how many programs lie beside and below each other, and the size of one."""
    across = min(triton.next_power_of_2(width), WIDEST)
    height = min(triton.next_power_of_2(rows), max(1, TILE_BYTES // x.element_size() // across))
    return (-(-width // across), -(-rows // height)), {"HEIGHT": height, "WIDTH": across}


def _shape(index: Tensor | None) -> tuple[int, ...]:
    return () if index is None else tuple(index.shape)


def take(x: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    """Returns parts of a matrix, `(groups, some rows, some columns, run)`, of `(rows, columns, run)`."""
    all_rows, all_columns, run = x.shape
    groups = next(len(index) for index in (rows, columns) if index is not None)
    some_rows, some_columns = (
        all_rows if rows is None else rows.shape[1],
        all_columns if columns is None else columns.shape[1],
    )
    y = x.new_empty(groups, some_rows, some_columns, run)
    if y.numel() == 0:
        return y

    def plan() -> Plan:
        beside, size = _tiles(x, some_rows, some_columns * run)
        numbers = *beside, some_rows, all_rows, some_columns, all_columns, run
        return Plan(kernels["take_kernel"], groups * beside[0] * beside[1], numbers, size)

    rows, columns = (None if index is None else index.contiguous() for index in (rows, columns))
    launch((y, x.contiguous(), rows, columns), ("take", x.dtype, x.shape, _shape(rows), _shape(columns)), plan)
    return y


def _inverse(index: Tensor | None, count: int) -> Tensor | None:
    if index is None:
        return None
    found = torch.empty(len(index), count, dtype=torch.int32, device=index.device)
    numbers = index.shape[1], count
    layout = "inverse", index.shape, count
    launch(
        (found, index.contiguous()), layout, lambda: Plan(kernels["inverse_kernel"], len(index), numbers, {"BLOCK": INVERTED})
    )
    return found


def put(x: Tensor, rows: Tensor | None, columns: Tensor | None, row_count: int, column_count: int) -> Tensor:
    """Returns zeros, `(rows, columns, run)`, with the parts of all groups added."""
    groups, some_rows, some_columns, run = x.shape
    y = x.new_empty(row_count, column_count, run)
    if y.numel() == 0:
        return y

    def plan() -> Plan:
        beside, size = _tiles(x, row_count, column_count * run)
        numbers = *beside, groups, some_rows, row_count, some_columns, column_count, run
        return Plan(kernels["put_kernel"], beside[0] * beside[1], numbers, size)

    layout = "put", x.dtype, x.shape, row_count, column_count, rows is None, columns is None
    launch((y, x.contiguous(), _inverse(rows, row_count), _inverse(columns, column_count)), layout, plan)
    return y
