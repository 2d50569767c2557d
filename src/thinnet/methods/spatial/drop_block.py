"""DropBlock: contiguous blocks of a feature map are dropped together, because a neighbour would tell what one unit hides.

    seed ~ Bernoulli(gamma) wherever a whole block fits;  m = 1 where no seed's block covers the position
    y = x m / (1 - gamma)^n,  n = the number of blocks that cover the position
    gamma solves  mean over positions of 1 - (1 - gamma)^n = p

So the rate is p on every map, and every position has its exact expectation. The paper scales by the share that the batch kept:
there a sample's scale depends on the others, and the expectation is right on average only. The paper's rate rises linearly
from 0 to p over training: `DropoutRNG(schedules={"drop*": thinnet.schedules.Linear(0.0, 0.1, steps)})`.
Ghiasi, Lin, Le 2018, NeurIPS, arXiv:1810.12890.
"""

import torch
from torch import Tensor

from thinnet.methods.call import draw_key
from thinnet.methods.facts import Facts, Method
from thinnet.methods.spatial import blocks
from thinnet.ops import check_input
from thinnet.rng import NoiseKey, Site, rates
from thinnet.rng.context import capturing

Block = int | tuple[int, ...]


def definition(x: Tensor, u: Tensor, p: float, block: Block = 7, shared: bool = False) -> Tensor:
    """Returns what no block covers, divided by its chance to be kept; a block is dropped where its seed has u < gamma."""
    gamma, chance = blocks.keep_probability(x.shape, p, block)
    kept = torch.ones(*u.shape[:2], *x.shape[2:], dtype=torch.bool)
    for seed, positions in blocks.places(x.shape, block):
        kept[(..., *positions)] &= u[(..., *seed)].reshape(*u.shape[:2], *[1] * (x.ndim - 2)) >= gamma
    return torch.where(kept, x / chance, 0)


def variance(x: Tensor, p: float, block: Block = 7, shared: bool = False) -> Tensor:
    """Returns x^2 (1 / (1 - gamma)^n - 1)."""
    return x * x * (1 / blocks.keep_probability(x.shape, p, block)[1] - 1) if p < 1 else torch.zeros_like(x)


FACTS = Facts(
    name="DropBlock",
    summary="Drops contiguous blocks of each channel; the share that is dropped is p on every map and for every block.",
    equation="y = x m / (1 - gamma)^n,  m = no block covers it,  gamma solves mean(1 - (1 - gamma)^n) = p",
    paper="Ghiasi, Lin, Le 2018, arXiv:1810.12890",
    grain="block of a channel",
    place="late groups of a convolutional network, behind the convolutions and on the skip connections too",
    avoid="rates above 0.3 with blocks much smaller than the map: the kept middle of the map is scaled up by 1 / (1 - gamma)^n",
    default="p = 0.1 with block 7, rising linearly from 0",
    cost="a uniform number for each place of a block, and its mask: several times dropout; no mask is kept",
    elsewhere="torchvision delivers less than p, with odd blocks only; timm more: 93 % where 10 % was asked at 7 x 7, block 7",
    expected_drop=lambda p, block=7, shared=False: p,
    mean=lambda x, p, block=7, shared=False: x * (p < 1),
    variance=variance,
    definition=definition,
    noise="uniform",
    noise_shape=blocks.grid,
    independent=False,
)


def _drop(key: NoiseKey, x: Tensor, block: tuple[int, ...], shared: bool, p: float | None) -> Tensor:
    """Returns `x` without its blocks. `p` is the rate where Python knows it: gamma is then solved for once."""
    blocks.check_fits(key.function, x, block)
    sizes = tuple(x.shape[2:])
    if all(side in (1, size) for side, size in zip(block, sizes, strict=True)):  # no two overlap: a toss with another grain
        whole = tuple(axis for axis, side in enumerate(block, 2) if side == x.shape[axis])
        return key.apply_noise(x, shared_axes=(1, *whole) if shared else whole)
    check_input(x, key.function)
    covered = blocks.coverage(sizes, block, x.device)
    gamma = blocks.seed_rate(key.rate, covered) if p is None else blocks.solved(sizes, block, rates.count(p))
    scale = ((1 - gamma) ** -covered).clamp(max=torch.finfo(torch.float32).max)  # finite where nothing is ever kept
    scale = scale if x.dtype == torch.float64 else scale.float()
    if torch.compiler.is_compiling():  # the compiler decides what is kept, and cannot trace a toss in a backward of ours
        return blocks.select(key, x, gamma, scale, block, shared)
    return blocks.Selected.apply(x, gamma, scale, block, shared, key.rate, *key.name)  # type: ignore[return-value]


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
    """Drops stretches of `(N, C, L)`, a share p of each map on average, and scales what is kept by its position.

    y = x m / (1 - gamma)^n, where n blocks can cover a position, and gamma solves mean(1 - (1 - gamma)^n) = p.

    Args:
        x: `(N, C, L)`.
        p: fraction of positions set to zero, on average over the map; honoured to 1/65536.
        block: the length of a stretch. Size 1 is `dropout`, the map's size `dropout1d`.
        shared: whether the channels of a sample lose the same blocks.
        training: whether blocks are dropped. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`.

    Raises: ValueError where `p` is not in [0, 1], or `block` larger than the map; TypeError where `x` is of integers.

    Source: Ghiasi, Lin, Le 2018, arXiv:1810.12890.

    >>> y = drop_block1d(torch.ones(8, 64, 100), 0.1, block=10, training=True)
    >>> round(float((y == 0).float().mean()), 1), bool((y.mean() - 1).abs() < 0.05)
    (0.1, True)
    """
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
    """Drops rectangular blocks of `(N, C, H, W)`, a share p of each map on average, and scales what is kept by its position.

    y = x m / (1 - gamma)^n, where n blocks can cover a position, and gamma solves mean(1 - (1 - gamma)^n) = p.

    Args:
        x: `(N, C, H, W)`.
        p: fraction of positions set to zero, on average over the map; honoured to 1/65536.
        block: the sides of a block, or the one side of a square. Size 1 is `dropout`, the map's size `dropout2d`.
        shared: whether the channels of a sample lose the same blocks.
        training: whether blocks are dropped. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`.

    Raises: ValueError where `p` is not in [0, 1], or `block` larger than the map; TypeError where `x` is of integers.

    Source: Ghiasi, Lin, Le 2018, arXiv:1810.12890.

    >>> y = drop_block2d(torch.ones(8, 64, 14, 14), 0.1, block=7, training=True)
    >>> round(float((y == 0).float().mean()), 1), bool((y.mean() - 1).abs() < 0.05)
    (0.1, True)
    """
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
    """Drops boxes of `(N, C, D, H, W)`, a share p of each map on average, and scales what is kept by its position.

    y = x m / (1 - gamma)^n, where n blocks can cover a position, and gamma solves mean(1 - (1 - gamma)^n) = p.

    Args:
        x: `(N, C, D, H, W)`.
        p: fraction of positions set to zero, on average over the map; honoured to 1/65536.
        block: the sides of a box, or the one side of a cube. Size 1 is `dropout`, the map's size `dropout3d`.
        shared: whether the channels of a sample lose the same blocks.
        training: whether blocks are dropped. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`.

    Raises: ValueError where `p` is not in [0, 1], or `block` larger than the map; TypeError where `x` is of integers.

    Source: Ghiasi, Lin, Le 2018, arXiv:1810.12890.

    >>> y = drop_block3d(torch.ones(8, 64, 6, 8, 8), 0.1, block=3, training=True)
    >>> round(float((y == 0).float().mean()), 1), bool((y.mean() - 1).abs() < 0.05)
    (0.1, True)
    """
    return _functional(3, x, p, block, shared, training, generator)


class _DropBlock(Site):
    dims: int

    def __init__(self, p: float = 0.1, block: Block = 7, shared: bool = False) -> None:
        super().__init__(p)
        self.block = blocks.checked(type(self).__name__, block, self.dims)
        self.shared = shared

    def drop(self, x: Tensor) -> Tensor:
        """Tosses a seed wherever a whole block fits."""
        key = self.key(x)
        unknown = torch.compiler.is_compiling() or capturing(x.device)
        return x if key is None else _drop(key, x, self.block, self.shared, None if unknown else self.p)

    def extra_repr(self) -> str:
        """Returns rate and block."""
        return f"p={self.p}, block={self.block}" + (", shared=True" if self.shared else "")


class DropBlock1d(_DropBlock):
    """Drops stretches of `(N, C, L)` in training, a share p of each map on average, as `drop_block1d`.

    Args:
        p: fraction of positions set to zero, on average over the map; honoured to 1/65536.
        block: the length of a stretch.
        shared: whether the channels of a sample lose the same blocks.

    Shapes: `(N, C, L)`, the same out as in.

    Raises: ValueError where `p` is not in [0, 1], or `block` is no size, or larger than the map of an input.

    Source: Ghiasi, Lin, Le 2018, arXiv:1810.12890.

    >>> DropBlock1d(0.1, block=10)(torch.ones(2, 3, 20)).shape
    torch.Size([2, 3, 20])
    """

    dims = 1


class DropBlock2d(_DropBlock):
    """Drops rectangular blocks of `(N, C, H, W)` in training, a share p of each map on average, as `drop_block2d`.

    Args:
        p: fraction of positions set to zero, on average over the map; honoured to 1/65536.
        block: the sides of a block, or the one side of a square.
        shared: whether the channels of a sample lose the same blocks.

    Shapes: `(N, C, H, W)`, the same out as in.

    Raises: ValueError where `p` is not in [0, 1], or `block` is no size, or larger than the map of an input.

    Source: Ghiasi, Lin, Le 2018, arXiv:1810.12890.

    >>> DropBlock2d(0.1, block=7)(torch.ones(2, 3, 14, 14)).shape
    torch.Size([2, 3, 14, 14])
    """

    dims = 2


class DropBlock3d(_DropBlock):
    """Drops boxes of `(N, C, D, H, W)` in training, a share p of each map on average, as `drop_block3d`.

    Args:
        p: fraction of positions set to zero, on average over the map; honoured to 1/65536.
        block: the sides of a box, or the one side of a cube.
        shared: whether the channels of a sample lose the same blocks.

    Shapes: `(N, C, D, H, W)`, the same out as in.

    Raises: ValueError where `p` is not in [0, 1], or `block` is no size, or larger than the map of an input.

    Source: Ghiasi, Lin, Le 2018, arXiv:1810.12890.

    >>> DropBlock3d(0.1, block=3)(torch.ones(2, 3, 6, 8, 8)).shape
    torch.Size([2, 3, 6, 8, 8])
    """

    dims = 3


METHODS = (
    Method(FACTS, DropBlock1d, drop_block1d),
    Method(
        FACTS,
        DropBlock2d,
        drop_block2d,
        lambda x: drop_block2d(x[None, None], 0.3, block=5, training=True)[0, 0],
    ),
    Method(FACTS, DropBlock3d, drop_block3d),
)
