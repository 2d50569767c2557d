"""Small networks whose training steps are timed with and without thinning."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Make = Callable[[], nn.Module] | None
"""Makes a dropout module; None means no dropout."""


def mlp(width: int, drop: Make) -> nn.Module:
    """Returns 784-width-width-10 with ReLU and dropout behind both hidden activations."""
    layers: list[nn.Module] = []
    for wide in (784, width):
        layers += [nn.Linear(wide, width), nn.ReLU(), *([drop()] if drop else [])]
    return nn.Sequential(*layers, nn.Linear(width, 10))


class Attention(nn.Module):
    """Self-attention with heads of 64: `(B, T, D)` to `(B, T, D)`."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = width // 64, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the attention of each position."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A pre-norm Transformer block, with dropout behind its feed-forward activation or at the end of both branches."""

    def __init__(self, width: int, causal: bool, drop: Make = None, path: Make = None) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, causal)
        self.norm2 = nn.LayerNorm(width)
        inner = [nn.Linear(width, 4 * width), nn.GELU(), *([drop()] if drop else []), nn.Linear(4 * width, width)]
        self.ffn = nn.Sequential(*inner)
        self.path1, self.path2 = (path() if path else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Adds both branches."""
        x = x + self.path1(self.attention(self.norm1(x)))
        return x + self.path2(self.ffn(self.norm2(x)))


class ConvBlock(nn.Module):
    """A residual block: conv, batch norm, ReLU, channel dropout, conv, batch norm."""

    def __init__(self, channels: int, drop: Make = None) -> None:
        super().__init__()
        first: list[nn.Module] = [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        last = [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)]
        self.branch = nn.Sequential(*first, *([drop()] if drop else []), *last)

    def forward(self, x: Tensor) -> Tensor:
        """Adds the branch."""
        return F.relu(x + self.branch(x))


def conv_stage(channels: int, drop: Make) -> nn.Module:
    """Returns two residual blocks."""
    return nn.Sequential(ConvBlock(channels, drop), ConvBlock(channels, drop))


class MaskedPath(nn.Module):
    """DropPath that multiplies the output of a branch by a mask, as in timm and torchvision."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies each sample by 0 or 1 / (1 - p)."""
        if not self.training:
            return x
        mask = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(1 - self.p).div_(1 - self.p)
        return x * mask


class SubsetBlock(Block):
    """The block with the stochastic depth of DINOv2 (Oquab et al. 2023, arXiv:2304.07193), from its published definition.

    A branch runs on a random subset of max(int(B (1 - p)), 1) samples. Its output is added to their rows, times B over the
    size of the subset.
    """

    def __init__(self, width: int, p: float) -> None:
        super().__init__(width, causal=False)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Adds both branches, each for its subset of samples."""
        x = self._added(x, lambda part: self.attention(self.norm1(part)))
        return self._added(x, lambda part: self.ffn(self.norm2(part)))

    def _added(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        size = max(int(x.shape[0] * (1 - self.p)), 1)
        rows = torch.randperm(x.shape[0])[:size]
        y = branch(x[rows])
        return x.flatten(1).index_add(0, rows, y.flatten(1), alpha=x.shape[0] / size).view_as(x)


class BlockMask(nn.Module):
    """The dropout of SparseDrop (Lo 2024, arXiv:2411.01238): it drops blocks of rows and features.

    Its kernel that skips blocks needs CUDA; here every block is computed and multiplied by the mask.
    """

    def __init__(self, p: float, block: int = 128) -> None:
        super().__init__()
        self.p, self.block = p, block

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies each block by 0 or 1 / (1 - p)."""
        rows, features = (-(-size // self.block) for size in x.shape)
        mask = x.new_empty(rows, features).bernoulli_(1 - self.p).div_(1 - self.p)
        wide = mask.repeat_interleave(self.block, 0).repeat_interleave(self.block, 1)
        return x * wide[: x.shape[0], : x.shape[1]]
