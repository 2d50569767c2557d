"""Which axes of a tensor share a random decision: most structured methods are `Dropout` with other shared axes."""

from collections.abc import Callable, Sequence

SharedAxes = Callable[[int], tuple[int, ...]]  # from the number of axes of a tensor to the shared ones


def channels(axes: int) -> tuple[int, ...]:
    """Returns the shared axes of `(N, C, ...)` with one decision per channel of a sample.

    >>> channels(4)
    (2, 3)
    """
    return tuple(range(2, axes))


def samples(axes: int) -> tuple[int, ...]:
    """Returns the shared axes of `(N, ...)` with one decision per sample.

    >>> samples(3)
    (1, 2)
    """
    return tuple(range(1, axes))


def noise_shape_of(shared_axes: SharedAxes) -> Callable[..., tuple[int, ...]]:
    """Returns a function from the shape of an input to its noise shape, for `Facts.noise_shape`: shared axes have size one.

    >>> noise_shape_of(channels)((8, 3, 5, 5))
    (8, 3, 1, 1)
    """

    def shape_of(shape: Sequence[int], **_: object) -> tuple[int, ...]:
        shared = shared_axes(len(shape))
        return tuple(1 if axis in shared else size for axis, size in enumerate(shape))

    return shape_of
