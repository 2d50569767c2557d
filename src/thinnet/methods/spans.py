"""Spans of neighbouring positions, which several methods set to zero or to another value."""

import torch
from torch import Tensor


def inside(first: Tensor, width: int | Tensor, size: int) -> Tensor:
    """Returns which of `size` positions lie in spans: from `first` on, as many as `width`. Positions are on a new last axis.

    >>> inside(torch.tensor([1, -1]), 2, 4).int().tolist()
    [[0, 1, 1, 0], [1, 0, 0, 0]]
    """
    place, last = torch.arange(size, device=first.device), (first + width)[..., None]
    return (first[..., None] <= place) & (place < last)


def start(u: Tensor, places: int | Tensor) -> Tensor:
    """Returns a place for each uniform number in (0, 1): 0 .. places - 1, all equally likely.

    >>> start(torch.tensor([0.1, 0.5, 1 - 2.0**-24]), 3).tolist()  # u places is below places in float32 too
    [0, 1, 2]
    """
    return (u * places).long()


def share(size: int, width: int) -> Tensor:
    """Returns the probability of each of `size` positions to lie in a span that is inside of them and starts anywhere.

    >>> (3 * share(4, 2)).tolist()  # inner positions are in more spans
    [1.0, 2.0, 2.0, 1.0]
    """
    place = torch.arange(size, dtype=torch.float64)
    covering = torch.minimum(place + 1, size - place).clamp(max=min(width, size - width + 1))
    return covering / (size - width + 1)
