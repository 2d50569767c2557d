"""Which axes of a tensor share a random decision: most structured methods are `Dropout` with other shared axes."""

from collections.abc import Callable, Sequence

NoiseShape = Sequence[int | None]
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


def checked(function: str, noise_shape: NoiseShape | None) -> tuple[int | None, ...] | None:
    """Returns a noise shape as a tuple, or raises a ValueError."""
    if noise_shape is None:
        return None
    sizes = tuple(noise_shape) if isinstance(noise_shape, (tuple, list)) else (0,)
    if not all(size is None or (isinstance(size, int) and not isinstance(size, bool) and size > 0) for size in sizes):
        rule = "noise_shape must be positive integers, with None for the size of the input"
        raise ValueError(f"{function}: {rule}; got {noise_shape!r}. An axis of size 1 shares its noise, as in (None, 1, None).")
    return sizes


def shared_by(function: str, noise_shape: NoiseShape, shape: Sequence[int]) -> tuple[int, ...]:
    """Returns the shared axes of an input for a noise shape that broadcasts over it: those of size 1, or missing in front.

    >>> shared_by("dropout", (None, 1, 5), (8, 7, 5)), shared_by("dropout", (5,), (8, 7, 5))
    ((1,), (0, 1))
    """
    missing = len(shape) - len(noise_shape)
    sizes = (*[1] * missing, *noise_shape)
    if missing < 0 or any(size not in (None, 1, own) for size, own in zip(sizes, shape, strict=True)):
        rule = f"noise_shape must broadcast over x, of shape {tuple(shape)}"
        raise ValueError(f"{function}: {rule}; got {tuple(noise_shape)}. None stands for the size of x, such as a batch size.")
    return tuple(axis for axis, size in enumerate(sizes) if size == 1)
