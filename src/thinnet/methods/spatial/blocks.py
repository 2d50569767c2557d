"""Geometry of DropBlock: where blocks fit, how many cover a position, and the seed rate that gives a drop rate."""

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from thinnet.ops import units
from thinnet.rng import NoiseKey, rates

STEPS = 10  # of Newton's method; 8 reach float64's last digits on maps up to 224 x 224 with blocks up to 50 x 50
SPACING = 2.0**23  # uniform noise has 2^23 values


def checked(function: str, block: int | Sequence[int], dims: int) -> tuple[int, ...]:
    """Returns the size of a block along each axis of the map, or raises a ValueError."""
    sizes = (block,) * dims if isinstance(block, int) else tuple(block) if isinstance(block, (tuple, list)) else ()
    if len(sizes) != dims or not all(type(size) is int and size >= 1 for size in sizes):
        rule = "a positive integer" + (f", or {dims} of them" if dims > 1 else "")
        raise ValueError(
            f"{function}: block must be {rule}; got {block!r}. It is the side of what is dropped; the paper's is 7."
        )
    return sizes


def clipped(function: str, x: Tensor, block: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the block, cut to the map of `x` as in the paper's code; refuses another number of dimensions."""
    axes = "(N, C, " + ", ".join("DHW"[-len(block) :] if len(block) > 1 else "L") + ")"
    if x.ndim != 2 + len(block):
        raise ValueError(f"{function}: x must be {axes}; got shape {tuple(x.shape)}. Add a batch axis with x.unsqueeze(0).")
    return cut(block, x.shape[2:])


def cut(block: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Returns the sides of a block that is cut to a map.

    >>> cut((7, 7), (5, 14))
    (5, 7)
    """
    return tuple(min(side, size) for side, size in zip(block, sizes, strict=True))


def coverage(sizes: Sequence[int], block: tuple[int, ...], device: torch.device | None = None) -> Tensor:
    """Returns the number of blocks that can cover each position of a map, in float64.

    >>> coverage((4, 5), (2, 4)).int().tolist()
    [[1, 2, 2, 2, 1], [2, 4, 4, 4, 2], [2, 4, 4, 4, 2], [1, 2, 2, 2, 1]]
    """
    counts = torch.ones((), dtype=torch.float64, device=device)
    for size, side in zip(sizes, block, strict=True):
        place = torch.arange(size, dtype=torch.float64, device=device)
        counts = counts[..., None] * torch.minimum(place + 1, size - place).clamp(max=min(side, size - side + 1))
    return counts


def seed_rate(rate: Tensor, covered: Tensor) -> Tensor:
    """Returns gamma, the rate of block seeds that drops `rate` 65536ths of all positions on average.

    Solves mean over positions of (1 - gamma)^n = 1 - p for t = -log(1 - gamma). The logarithm of the left side is convex and
    decreasing in t, so Newton's method from t = 0 approaches the root from below. Rounded to the resolution of the noise.
    """
    n, kept = covered.flatten(), 1 - rate.double() / rates.RESOLUTION
    t = torch.zeros_like(kept)
    for _ in range(STEPS):
        powers = -t * n
        slope = (powers.softmax(0) * n).sum()
        t = t + (powers.logsumexp(0) - math.log(n.numel()) - kept.clamp(min=0.5 / rates.RESOLUTION).log()) / slope
    return torch.where(kept > 0, (-torch.expm1(-t) * SPACING).round() / SPACING, 1.0)


@lru_cache(maxsize=256)
def solved(sizes: tuple[int, ...], block: tuple[int, ...], counted: int) -> float:
    """Returns gamma as a cached Python number, for a rate in 65536ths.

    >>> solved((14, 14), (7, 7), 6554)
    0.006764769554138184
    """
    return seed_rate(torch.tensor(counted), coverage(sizes, block)).item()


def scale_of(gamma: float | Tensor, covered: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns 1 / (1 - gamma)^n, in float64 for such an input, else in float32; finite where nothing is ever kept."""
    scale = ((1 - gamma) ** -covered).clamp(max=torch.finfo(torch.float32).max)
    return scale if dtype == torch.float64 else scale.float()


@lru_cache(maxsize=256)
def cached_scale(sizes: tuple[int, ...], block: tuple[int, ...], counted: int, dtype: torch.dtype) -> Tensor:
    """Returns the same on a CPU, for a rate in 65536ths; nobody may write to it."""
    with torch.inference_mode(False):  # an inference tensor could not be used in training later
        return scale_of(solved(sizes, block, counted), coverage(sizes, block), dtype)


def spread(seeds: Tensor, block: tuple[int, ...]) -> Tensor:
    """Returns the positions that the blocks of some seeds cover, `(N, C, ...)`.

    The union of shifts doubles its width at each step. Every row and every map begins with the zeros of the places where no
    block fits. A shift of the flat memory reads these at the end of the previous row, so the union is one long OR.

    >>> spread(torch.tensor([[[True, False, False, True]]]), (3,)).int().tolist()
    [[[1, 1, 1, 1, 1, 1]]]
    """
    padded = torch.nn.functional.pad(seeds, [edge for side in reversed(block) for edge in (side - 1, 0)])
    strides = [math.prod(padded.shape[axis + 1 :]) for axis in range(2, padded.ndim)]
    flat = torch.nn.functional.pad(
        padded.flatten(), (0, sum((side - 1) * stride for side, stride in zip(block, strides, strict=True)))
    )
    for side, stride in reversed(list(zip(block, strides, strict=True))):
        width = 1
        while width < side:
            step = min(width, side - width)
            flat, width = flat[: -step * stride] | flat[step * stride :], width + step
    return flat.reshape(padded.shape)


def grid(shape: Sequence[int], block: int | Sequence[int] = 7, shared: bool = False) -> tuple[int, ...]:
    """Returns the shape of the seeds of `(N, C, ...)`: one seed wherever a whole block fits, cut to the map.

    >>> grid((2, 3, 14, 9), 7)
    (2, 3, 8, 3)
    """
    sides = cut(checked("drop_block", block, len(shape) - 2), shape[2:])
    return shape[0], 1 if shared else shape[1], *(size - side + 1 for size, side in zip(shape[2:], sides, strict=True))


def select(key: NoiseKey, x: Tensor, gamma: float | Tensor, scale: Tensor, block: tuple[int, ...], shared: bool) -> Tensor:
    """Returns `x` times `scale` where no block is dropped, and zeros elsewhere."""
    if isinstance(gamma, float) and x.ndim <= 5 and x.dtype in units.REAL and units.served(x, key.address):
        return units.drop_blocks(x, scale, int(gamma * SPACING), block, shared, key.address)
    dropped = spread(key.uniform(grid(x.shape, block, shared)) < gamma, block)
    y = torch.where(dropped, 0, x * scale).to(x.dtype)
    return y if x.is_contiguous() else torch.empty_like(x).copy_(y)  # the memory format of x


def selected(key: NoiseKey, x: Tensor, gamma: float | Tensor, scale: Tensor, block: tuple[int, ...], shared: bool) -> Tensor:
    """Returns the same, and keeps for backward what draws the seeds again."""
    if torch.compiler.is_compiling() or torch._C._is_tracing():  # a trace chooses what to store, and cannot hold our backward
        return select(key, x, gamma, scale, block, shared)
    if units.served(x, key.address):
        return units.linear(x, lambda x: select(key, x, gamma, scale, block, shared))
    return Selected.apply(x, gamma, scale, block, shared, key.rate, *key.address)  # type: ignore[return-value]


class Selected(torch.autograd.Function):
    """Applies `select`. It is linear in `x`, so its derivative is itself: backward draws the same seeds again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, gamma: Any, scale: Tensor, block: Any, shared: bool, rate: Tensor, *name: Any) -> Tensor:
        return select(NoiseKey("drop_block", rate, *name), x, gamma, scale, block, shared)  # type: ignore[arg-type]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.gamma, scale, ctx.block, ctx.shared, *where = inputs
        ctx.save_for_backward(scale, *where)
        ctx.save_for_forward(scale, *where)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        scale, *where = ctx.saved_tensors
        return Selected.apply(tangents[0], ctx.gamma, scale, ctx.block, ctx.shared, *where)  # type: ignore[return-value]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        return Selected.jvp(ctx, *gradients), *[None] * (len(ctx.needs_input_grad) - 1)


def places(shape: Sequence[int], block: int | Sequence[int]) -> list[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Returns where each block fits: the index of its seed and the slices that it covers; used by the definition."""
    sides = cut(checked("drop_block", block, len(shape) - 2), shape[2:])
    return [
        (at, tuple(slice(i, i + side) for i, side in zip(at, sides, strict=True)))
        for at in itertools.product(*map(range, grid(shape, block)[2:]))
    ]


def keep_probability(shape: Sequence[int], p: float, block: int | Sequence[int]) -> tuple[float, Tensor]:
    """Returns gamma, by bisection over explicitly counted blocks, and the keep probability of each position."""
    covered = torch.zeros(tuple(shape[2:]), dtype=torch.float64)
    for _, positions in places(shape, block):
        covered[positions] += 1
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if float((1 - (1 - middle) ** covered).mean()) > p else (middle, high)
    gamma = round((low + high) / 2 * SPACING) / SPACING
    return gamma, (1 - gamma) ** covered
