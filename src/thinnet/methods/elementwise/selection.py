"""Units kept at rates of their own, and no mask kept for backward: the noise is drawn again, as in a toss at one rate.

y = x s where u >= r, else 0:  linear in x, so that its derivative is the same selection of the gradient
"""

import math
from typing import Any

import torch
from torch import Tensor

from thinnet.rng import NoiseKey


def noise(key: NoiseKey, x: Tensor, first: int = 0) -> Tensor:
    """Returns the uniform numbers of `x`: one an element, or `(N, first + units)`, the first ones of a sample for itself."""
    return key.uniform((len(x), first + math.prod(x.shape[1:])) if first else x.shape)


def select(x: Tensor, u: Tensor, rate: Tensor, scale: Tensor, first: int = 0) -> Tensor:
    """Returns x s where u >= r and zeros elsewhere, in the dtype of `x`.

    >>> x, rate = torch.ones(2, 3), torch.tensor([0.1, 0.5, 0.9])
    >>> select(x, torch.full((2, 3), 0.5), rate, torch.tensor(2.0))[0].tolist()
    [2.0, 2.0, 0.0]
    """
    u = u[:, first:].reshape(x.shape) if first else u
    return torch.where(u >= rate, x * scale, 0).to(x.dtype)


class Selected(torch.autograd.Function):
    """The selection of a draw: `rate` and `scale` broadcast over `x`, `u` is `noise(draw, x, first)`."""

    @staticmethod
    def forward(x: Tensor, u: Tensor, rate: Tensor, scale: Tensor, first: int, *name: Tensor | None) -> Tensor:
        """Selects by the noise as it was drawn."""
        return select(x, u, rate, scale, first)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keeps the name of the noise, and not the noise."""
        _, _, rate, scale, ctx.first, *name = inputs
        ctx.save_for_backward(rate, scale, *name)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Draws it again."""
        rate, scale, at, *name = ctx.saved_tensors
        (gradient,), key = gradients, NoiseKey("backward", at, tuple(name))
        again = noise(key, gradient, ctx.first)
        return selected(key, gradient, again, rate, scale, ctx.first), *[None] * (4 + 1 + len(name))


def selected(key: NoiseKey, x: Tensor, u: Tensor, rate: Tensor, scale: Tensor, first: int = 0) -> Tensor:
    """Returns x s where u >= r and zeros elsewhere, and keeps for backward the rates, the scales and a name alone."""
    if torch.compiler.is_compiling():  # the compiler decides what is kept, and cannot trace a toss in a backward of ours
        return select(x, u, rate, scale, first)
    return Selected.apply(x, u, rate, scale, first, key.rate, *key.name)  # type: ignore[return-value]
