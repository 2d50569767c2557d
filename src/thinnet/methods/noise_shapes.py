"""The grains: which axes of a tensor share a coin. Most structured methods are `Dropout` with another one of these."""

from collections.abc import Callable, Sequence

Grain = Callable[[int], tuple[int, ...]]  # from the number of axes of a tensor to those that share a coin


def channels(axes: int) -> tuple[int, ...]:
    """Returns the axes of `(N, C, ...)` that share a coin where a channel of a sample has one: all behind the channels.

    >>> channels(4)
    (2, 3)
    """
    return tuple(range(2, axes))


def samples(axes: int) -> tuple[int, ...]:
    """Returns the axes of `(N, ...)` that share a coin where a sample has one: all behind the first.

    >>> samples(3)
    (1, 2)
    """
    return tuple(range(1, axes))


def noise_shape_of(grain: Grain) -> Callable[..., tuple[int, ...]]:
    """Returns the shape of the coins of a tensor as `Facts.coins` states it: an axis that shares a coin has size one.

    >>> noise_shape_of(channels)((8, 3, 5, 5))
    (8, 3, 1, 1)
    """

    def shape_of(shape: Sequence[int], **_: object) -> tuple[int, ...]:
        shared = grain(len(shape))
        return tuple(1 if axis in shared else size for axis, size in enumerate(shape))

    return shape_of
