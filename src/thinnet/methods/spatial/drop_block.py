"""DropBlock: drops contiguous blocks of a feature map."""

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.spatial import blocks
from thinnet.ops import check_input, units
from thinnet.rng import NoiseKey, Site, rates
from thinnet.rng.context import capturing
from thinnet.rng.fake import is_faking

Block = int | tuple[int, ...]


def definition(x: Tensor, u: Tensor, p: float, block: Block = 7, shared: bool = False) -> Tensor:
    """Returns the uncovered positions over their keep probability; a block is dropped where its seed has u < gamma."""
    gamma, chance = blocks.keep_probability(x.shape, p, block)
    kept = torch.ones(*u.shape[:2], *x.shape[2:], dtype=torch.bool)
    for seed, positions in blocks.places(x.shape, block):
        kept[(..., *positions)] &= u[(..., *seed)].reshape(*u.shape[:2], *[1] * (x.ndim - 2)) >= gamma
    return torch.where(kept, x / chance, 0)


def variance(x: Tensor, p: float, block: Block = 7, shared: bool = False) -> Tensor:
    """Returns x^2 (1 / (1 - gamma)^n - 1)."""
    return x * x * (1 / blocks.keep_probability(x.shape, p, block)[1] - 1) if p < 1 else torch.zeros_like(x)


FACTS = Facts(
    expected_drop=lambda p, block=7, shared=False: p,
    mean=lambda x, p, block=7, shared=False: x * (p < 1),
    variance=variance,
    definition=definition,
    noise="uniform",
    noise_shape=blocks.grid,
    independent=False,
    used_by=(Use("timm", "timm.layers.DropBlock2d(drop_prob, block_size)"),),
)


def _drop(key: NoiseKey, x: Tensor, block: tuple[int, ...], shared: bool, p: float | None) -> Tensor:
    """Returns `x` without its blocks. With `p` as a Python number, gamma is solved once and cached."""
    block, sizes = blocks.clipped(key.function, x, block), tuple(x.shape[2:])
    if all(side in (1, size) for side, size in zip(block, sizes, strict=True)):  # no overlap: shared axes do
        whole = tuple(axis for axis, side in enumerate(block, 2) if side == x.shape[axis])
        return key.apply_noise(x, shared_axes=(1, *whole) if shared else whole)
    check_input(x, key.function)
    counted = None if p is None or is_faking() else rates.count(p)  # a fake tensor must not be cached
    if counted is not None and units.plain(x):
        gamma, scale = blocks.solved(sizes, block, counted), blocks.cached_scale(sizes, block, counted, x.dtype)
        return blocks.selected(key, x, gamma, scale, block, shared)
    covered = blocks.coverage(sizes, block, x.device)
    solved = blocks.seed_rate(key.rate, covered) if counted is None else blocks.solved(sizes, block, counted)
    return blocks.selected(key, x, solved, blocks.scale_of(solved, covered, x.dtype), block, shared)


def _functional(dims, x, p, block, shared, training, generator) -> Tensor:
    function = f"drop_block{dims}d"
    sides = blocks.checked(function, block, dims)
    key = draw_key(function, x, p, training, generator)
    unknown = torch.compiler.is_compiling() or (isinstance(p, Tensor) and p.device.type != "cpu")
    return x if key is None else _drop(key, x, sides, shared, None if unknown else float(p))


def drop_block1d(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    block: Block = 7,
    shared: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `DropBlock1d`.

    Args:
        x: `(N, C, L)`.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> y = drop_block1d(torch.ones(8, 64, 100), 0.1, block=10, training=True)
    >>> round(float((y == 0).float().mean()), 1), bool((y.mean() - 1).abs() < 0.05)
    (0.1, True)
    """
    if not isinstance(x, Tensor):
        return no_tensor(drop_block1d, locals())
    return _functional(1, x, p, block, shared, training, generator)


def drop_block2d(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    block: Block = 7,
    shared: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `DropBlock2d`. The arguments are those of `drop_block1d`, with `x` of shape `(N, C, H, W)`.

    >>> y = drop_block2d(torch.ones(8, 64, 14, 14), 0.1, block=7, training=True)
    >>> round(float((y == 0).float().mean()), 1), bool((y.mean() - 1).abs() < 0.05)
    (0.1, True)
    """
    if not isinstance(x, Tensor):
        return no_tensor(drop_block2d, locals())
    return _functional(2, x, p, block, shared, training, generator)


def drop_block3d(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    block: Block = 7,
    shared: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `DropBlock3d`. The arguments are those of `drop_block1d`, with `x` of shape `(N, C, D, H, W)`.

    >>> y = drop_block3d(torch.ones(8, 64, 6, 8, 8), 0.1, block=3, training=True)
    >>> round(float((y == 0).float().mean()), 1), bool((y.mean() - 1).abs() < 0.05)
    (0.1, True)
    """
    if not isinstance(x, Tensor):
        return no_tensor(drop_block3d, locals())
    return _functional(3, x, p, block, shared, training, generator)


class _DropBlock(Site):
    dims: int

    def __init__(self, p: float = 0.1, block: Block = 7, shared: bool = False) -> None:
        super().__init__(p)
        self.block = blocks.checked(type(self).__name__, block, self.dims)
        self.shared = shared

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        unknown = torch.compiler.is_compiling() or capturing(x.device)
        return x if key is None else _drop(key, x, self.block, self.shared, None if unknown else self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}, block={self.block}" + (", shared=True" if self.shared else "")


class DropBlock1d(_DropBlock):
    """Drops contiguous blocks of each channel; the dropped fraction is p on average, on every map and for every block size.

        y = x m / (1 - gamma)^n,  m = 1 where no dropped block covers the position
        gamma solves mean over positions of (1 - (1 - gamma)^n) = p

    Each place where a whole block fits is dropped with probability gamma. n is the number of blocks that can cover a position.
    The expectation is exact at every position. The paper scales by the fraction that the batch kept. There the scale depends on
    the other samples, and the expectation is exact only on average.

    The paper raises the rate linearly from 0: `DropoutRNG(schedules={"drop*": thinnet.schedules.Linear(0.0, 0.1, steps)})`.

    Noise shape: one decision per place where a whole block fits, in each channel of a sample.
    Use when: in the late stages of a convolutional network, after the convolutions and on the skip connections.
    Avoid when: the rate is above 0.3 and blocks are much smaller than the map: kept positions in the middle of the map are
        scaled by a large 1 / (1 - gamma)^n.
    Start with: p = 0.1, block 7, rising linearly from 0.
    Cost: a uniform number for each place of a block; no mask is stored. One pass over a contiguous tensor on a CPU or
        with Triton, elsewhere several times the cost of dropout.
    Other implementations: torchvision drops less than p, and accepts only odd block sizes. timm drops more: 93 % instead of
        10 % on a 7 x 7 map with block 7.

    Args:
        p: fraction of positions dropped, on average over the map; rounded to 1/65536.
        block: length of a block, at most that of the map: on a shorter map the block is as long as the map. With 1 it equals
            `Dropout`, with the length of the map `Dropout1d`.
        shared: whether the channels of a sample drop the same blocks.

    Shapes: `(N, C, L)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1], or `block` is not a positive integer; TypeError if the
        input is an integer tensor.

    Source: Ghiasi, Lin, Le 2018, NeurIPS, arXiv:1810.12890.

    >>> DropBlock1d(0.1, block=10)(torch.ones(2, 3, 20)).shape
    torch.Size([2, 3, 20])
    """

    dims = 1


class DropBlock2d(_DropBlock):
    """`DropBlock1d` for images, `(N, C, H, W)`.

    Args:
        block: sides of a block, or one side of a square; cut to smaller maps. With 1 it equals `Dropout`, with the size of
            the map `Dropout2d`.

    Shapes: `(N, C, H, W)`; the output has the shape of the input.

    >>> DropBlock2d(0.1, block=7)(torch.ones(2, 3, 14, 14)).shape
    torch.Size([2, 3, 14, 14])
    """

    dims = 2


class DropBlock3d(_DropBlock):
    """`DropBlock1d` for volumes, `(N, C, D, H, W)`.

    Args:
        block: sides of a box, or one side of a cube; cut to smaller maps. With 1 it equals `Dropout`, with the size of
            the map `Dropout3d`.

    Shapes: `(N, C, D, H, W)`; the output has the shape of the input.

    >>> DropBlock3d(0.1, block=3)(torch.ones(2, 3, 6, 8, 8)).shape
    torch.Size([2, 3, 6, 8, 8])
    """

    dims = 3


METHODS = (
    Method(FACTS, DropBlock1d, drop_block1d, title="DropBlock"),
    Method(FACTS, DropBlock2d, drop_block2d, lambda x: drop_block2d(x[None, None], 0.3, block=5, training=True)[0, 0]),
    Method(FACTS, DropBlock3d, drop_block3d),
)
