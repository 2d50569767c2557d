"""Dropout at rates that broadcast over the input; the mask is drawn again for backward instead of kept.

y = x s where u >= r, else 0. This is linear in x, so its derivative selects the same elements of the gradient.
"""

import math
from typing import Any

import torch
from torch import Tensor

from thinnet.methods.numbers import in_format_of
from thinnet.ops import NoiseKind, check_input, schema, units, write
from thinnet.rng import NoiseKey, rates


def noise(key: NoiseKey, x: Tensor, first: int = 0, shared: tuple[int, ...] = ()) -> Tensor:
    """Returns uniform numbers for `x`: one per element, or `(N, first + units)` with `first` numbers per sample.

    The axes in `shared` have size one.
    """
    if first:
        return key.uniform((len(x), first + math.prod(x.shape[1:])))
    return key.uniform([1 if axis in shared else size for axis, size in enumerate(x.shape)] if shared else x.shape)


def _in_one_pass(x: Tensor, address: Any) -> bool:
    """Returns whether a kernel draws and selects at float32 rates."""
    return x.dtype in units.DTYPES and units.served(x, address)


def where_kept(x: Tensor, kept: Tensor, scale: Tensor | None = None) -> Tensor:
    """Returns x, or x scale, where the mask `kept` is True, and zeros elsewhere, in the dtype and memory format of `x`.

    Mask and scale broadcast over `x`. Where a kernel runs, backward keeps the mask alone, a byte for each of its numbers.
    """
    if _scales_in_one_pass(x, kept, scale):
        return units.linear(x, lambda x: _where_kept(x, kept, scale))
    return _where_kept(x, kept, scale)


def _scales_in_one_pass(x: Tensor, kept: Tensor, scale: Tensor | None) -> bool:
    number = x.dtype in units.DTYPES and (scale is None or scale.dtype == torch.float32)
    return number and kept.ndim <= x.ndim and units.served(x)


def _where_kept(x: Tensor, kept: Tensor, scale: Tensor | None) -> Tensor:
    if _scales_in_one_pass(x, kept, scale):
        return units.scale_units(x, kept.to(torch.float32) if scale is None else torch.where(kept, scale, 0))
    return in_format_of(x, torch.where(kept, x if scale is None else x * scale, 0).to(x.dtype))


def first_number(key: NoiseKey, x: Tensor) -> Tensor | None:
    """Returns the first column of `noise(key, x, 1)`, where a kernel draws the others; None where it does not."""
    if not _in_one_pass(x, key.address):
        return None
    half = torch.full((len(x), 1), 0.5, device=key.rate.device)
    where = rates.tensor(0.25, key.rate.device), *key.address
    return schema.call(half, *where, [0 if key.samples is not None else 1 + math.prod(x.shape[1:]), 1, 0], NoiseKind.UNIFORM)


def select(x: Tensor, u: Tensor, rate: Tensor, scale: Tensor, first: int = 0) -> Tensor:
    """Returns x s where u >= r and zeros elsewhere, in the dtype and the memory format of `x`.

    >>> x, rate = torch.ones(2, 3), torch.tensor([0.1, 0.5, 0.9])
    >>> select(x, torch.full((2, 3), 0.5), rate, torch.tensor(2.0))[0].tolist()
    [2.0, 2.0, 0.0]
    """
    u = u[:, first:].reshape(x.shape) if first else u
    return in_format_of(x, torch.where(u >= rate, x * scale, 0).to(x.dtype))


def _selected(
    key: NoiseKey,
    x: Tensor,
    rate: Tensor,
    scale: Tensor,
    first: int,
    shared: tuple[int, ...] = (),
    drawn: Tensor | None = None,
) -> Tensor:
    if not shared and rate.dtype == scale.dtype == torch.float32 and _in_one_pass(x, key.address):
        return units.select_units(x, rate, scale, key.address, first)
    return select(x, noise(key, x, first, shared) if drawn is None else drawn, rate, scale, first)


class Selected(torch.autograd.Function):
    """Selects by the noise of a key; `rate` and `scale` broadcast over `x`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, rate: Tensor, scale: Tensor, first: int, shared: Any, drawn: Any, *name: Any) -> Tensor:
        """Draws the noise, unless it is given, and selects."""
        return _selected(NoiseKey("selected", *name), x, rate, scale, first, shared, drawn)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keeps the address of the noise instead of the noise."""
        _, rate, scale, ctx.first, ctx.shared, _, *name = inputs
        ctx.save_for_backward(rate, scale, *name)
        ctx.save_for_forward(rate, scale, *name)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        """Draws the noise again and applies it to the tangent."""
        rate, scale, *name = ctx.saved_tensors
        return Selected.apply(tangents[0], rate, scale, ctx.first, ctx.shared, None, *name)  # type: ignore[return-value]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Does the same to the gradient."""
        return Selected.jvp(ctx, *gradients), *[None] * (len(ctx.needs_input_grad) - 1)


def selected(
    key: NoiseKey,
    x: Tensor,
    rate: Tensor,
    scale: Tensor,
    first: int = 0,
    shared: tuple[int, ...] = (),
    drawn: Tensor | None = None,
) -> Tensor:
    """Returns x s where u >= r and zeros elsewhere; for backward it keeps rates, scales and the address of the noise.

    `drawn` is the noise u, if the caller has it already.
    """
    if torch.compiler.is_compiling() or torch._C._is_tracing():  # a trace chooses what is kept, and cannot hold our backward
        return select(x, noise(key, x, first, shared) if drawn is None else drawn, rate, scale, first)
    if drawn is None and not shared and _in_one_pass(x, key.address):
        return units.linear(x, lambda x: _selected(key, x, rate, scale, first))
    return Selected.apply(x, rate, scale, first, shared, drawn, key.rate, *key.address)  # type: ignore[return-value]


def at_rates(key: NoiseKey, x: Tensor, shared: tuple[int, ...] = (), inplace: bool = False) -> Tensor:
    """Drops at several rates, those of the key, which broadcast over `x`; the axes in `shared` have the same numbers."""
    check_input(x, key.function)
    if key.rate.ndim > x.ndim or any(r not in (1, n) for r, n in zip(key.rate.shape[::-1], x.shape[::-1], strict=False)):
        rule = f"{key.function}: p must broadcast over x, of shape {tuple(x.shape)}"
        raise ValueError(f"{rule}; got rates of shape {tuple(key.rate.shape)}. Rates of channels have shape (C, 1, 1).")
    y = selected(key, x, key.p, key.scale, shared=shared)
    return write(x, y, key.function) if inplace else y
