"""Takes parts out of a matrix, and puts them back into zeros: what a layer of a sub-network computes with.

    take(W, rows, columns)[g, i, j] = W[rows[g, i], columns[g, j]]

The derivative of taking is putting into zeros, and vice versa. Both are one pass over the memory.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thinnet.ops import gpu, schema

DTYPES = frozenset((torch.float32, torch.float64, torch.bfloat16, torch.float16))  # of the kernels
library = torch.library.Library("thinnet", "FRAGMENT")
library.define("take(Tensor x, Tensor? rows, Tensor? columns) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
library.define(
    "put(Tensor x, Tensor? rows, Tensor? columns, SymInt row_count, SymInt column_count) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _take(x: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    places = (None if rows is None else rows.unbind(), None if columns is None else columns.unbind())
    parts = []
    for group in range(_groups(rows, columns)):
        part = x if places[0] is None else x.index_select(0, places[0][group])
        parts.append(part if places[1] is None else part.index_select(1, places[1][group]))
    return torch.stack(parts)


def _put(x: Tensor, rows: Tensor | None, columns: Tensor | None, row_count: int, column_count: int) -> Tensor:
    y = x.new_zeros(row_count, column_count, x.shape[3])
    for group, part in enumerate(x):
        if columns is not None:
            part = part.new_zeros(part.shape[0], column_count, part.shape[2]).index_copy(1, columns[group], part)
        y = y + part if rows is None else y.index_add(0, rows[group], part)
    return y


library.impl("take", _take, "CompositeExplicitAutograd")
library.impl("put", _put, "CompositeExplicitAutograd")
gpu.register(library, "take", "take", "put")


def _groups(rows: Tensor | None, columns: Tensor | None) -> int:
    return next(index.shape[0] for index in (rows, columns) if index is not None)


def _sized(index: Tensor | None, count: int) -> int:
    return count if index is None else index.shape[1]


@torch.library.register_fake("thinnet::take", lib=library)
def _fake_take(x: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    return x.new_empty(_groups(rows, columns), _sized(rows, x.shape[0]), _sized(columns, x.shape[1]), x.shape[2])


@torch.library.register_fake("thinnet::put", lib=library)
def _fake_put(x: Tensor, rows: Tensor | None, columns: Tensor | None, row_count: int, column_count: int) -> Tensor:
    return x.new_empty(row_count, column_count, x.shape[3])


def _context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ctx.rows, ctx.columns, *counts = inputs
    ctx.counts, ctx.inputs = () if counts else (x.shape[0], x.shape[1]), len(inputs)


def _backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
    """Puts what comes back to something taken, and takes what comes back to something put."""
    return _call(gradients[0].contiguous(), ctx.rows, ctx.columns, *ctx.counts), *(None,) * (ctx.inputs - 1)


torch.library.register_autograd("thinnet::take", _backward, setup_context=_context, lib=library)
torch.library.register_autograd("thinnet::put", _backward, setup_context=_context, lib=library)


class _Eager(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        _context(ctx, arguments, arguments[0])
        return _run(*arguments)

    backward = staticmethod(_backward)


def _run(*arguments: Any) -> Tensor:
    with schema.below_autograd():
        return (torch.ops.thinnet.take if len(arguments) == 3 else torch.ops.thinnet.put).default(*arguments)


def _call(*arguments: Any) -> Tensor:
    """Takes with three arguments, puts with five, by the shortest path that is right here."""
    if schema.transformed() or arguments[0].dtype not in DTYPES:  # operations of PyTorch have all rules and dtypes
        return (_take if len(arguments) == 3 else _put)(*arguments)
    if torch.compiler.is_compiling():
        return (torch.ops.thinnet.take if len(arguments) == 3 else torch.ops.thinnet.put)(*arguments)
    if schema.differentiated(arguments[0]):
        return _Eager.apply(*arguments)  # type: ignore[return-value]
    return _run(*arguments)


def take(x: Tensor, rows: Tensor | None, columns: Tensor | None, run: int = 1) -> Tensor:
    """Returns, for each group, the numbers of `x` in some rows and columns.

    y[g, i, j, ...] = x[rows[g, i], columns[g, j], ...]

    Args:
        x: `(rows, columns, ...)`; what is behind stays together. A bias, of one axis, has rows alone.
        rows: `(groups, some)`, int64, in a group none of them twice; all where it is left out.
        columns: the same for axis 1.
        run: how many columns that follow each other count as one.

    Returns: `(groups, some rows, some columns * run, ...)`. Its derivative puts into zeros, and adds the groups up.

    >>> take(torch.arange(12.0).reshape(3, 4), torch.tensor([[0, 2]]), torch.tensor([[1, 3]]))
    tensor([[[ 1.,  3.],
             [ 9., 11.]]])
    """
    shape = x.shape
    columns_of = shape[1] // run if x.ndim > 1 else 1
    y = _call(x.reshape(shape[0], columns_of, -1).contiguous(), rows, columns)
    return y.reshape(y.shape[0], y.shape[1], y.shape[2] * run, *shape[2:]) if x.ndim > 1 else y.reshape(y.shape[:2])


def put(x: Tensor, rows: Tensor | None, columns: Tensor | None, shape: Sequence[int]) -> Tensor:
    """Returns zeros of `shape`, `(rows, columns)` or `(rows,)`, with parts added: the derivative of `take`.

    >>> put(torch.ones(1, 1, 2), torch.tensor([[1]]), torch.tensor([[0, 2]]), (2, 3))
    tensor([[0., 0., 0.],
            [1., 0., 1.]])
    """
    parts = x.reshape(x.shape[0], x.shape[1], -1, 1).contiguous()
    return _call(parts, rows, columns, shape[0], shape[1] if len(shape) > 1 else 1).reshape(shape)
