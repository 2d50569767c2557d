"""Converts a picture of one channel to the input of a method and back, for the gallery."""

from torch import Tensor

TILE = 6, 8  # rows and columns of the picture in one channel


def tiles(picture: Tensor, height: int = TILE[0], width: int = TILE[1]) -> Tensor:
    """Returns `(H, W)` cut into tiles, one per channel: `(1, C, height, width)`.

    >>> import torch
    >>> tiles(torch.zeros(24, 64)).shape
    torch.Size([1, 32, 6, 8])
    """
    return picture.unfold(0, height, height).unfold(1, width, width).flatten(0, 1)[None]


def untiled(channels: Tensor, columns: int) -> Tensor:
    """Returns the picture with the tiles `channels`; `columns` is its width.

    >>> import torch
    >>> picture = torch.randn(24, 64)
    >>> bool((untiled(tiles(picture), 64) == picture).all())
    True
    """
    across = columns // channels.shape[-1]
    return channels[0].unflatten(0, (-1, across)).transpose(1, 2).flatten(0, 1).flatten(1)
