"""Packs the arguments of `thinnet::apply_noise`: fewer arguments make a cheaper call.

`units` is empty where every unit has its own noise. Otherwise it holds the stride of the unit number along each axis, and the
unit number of the first element. `options` packs three arguments: kind + LINEAR * linear + BACKEND * backend.
"""

from collections.abc import Sequence

from torch import Tensor

from thinnet.ops.reference import NoiseKind

LINEAR, BACKEND = 4, 8
PATHS = {"auto": 0, "avx512": 1, "avx2": 2, "baseline": 3, "neon": 3}


def options_of(kind: NoiseKind, linear: bool = False, backend: str = "auto") -> int:
    """Returns the packed `options` of the operation."""
    if backend not in PATHS:
        rule = "backend must be one that this processor has"
        raise RuntimeError(f"apply_noise: {rule}; got {backend!r}. See thinnet.ops.backends().")
    return int(kind) + LINEAR * linear + BACKEND * PATHS[backend]


def unit_strides(shape: Sequence[int], shared_axes: tuple[int, ...], own: int) -> list[int]:
    """Returns by how much the unit number grows along each axis: row-major over the axes that are not shared.

    The first `own` axes count steps or samples, and not units.

    >>> unit_strides((4, 3, 2), (2,), own=1)
    [0, 1, 0]
    """
    units, stride = [0] * len(shape), 1
    for axis in range(len(shape) - 1, own - 1, -1):
        if axis not in shared_axes:
            units[axis] = stride
            stride = stride * shape[axis]
    return units


def leading(step: Tensor | None, samples: Tensor | None) -> int:
    """Returns how many axes in front count steps and samples."""
    return int(step is not None and step.ndim == 1) + (samples is not None)


def expanded(x: Tensor, step: Tensor | None, samples: Tensor | None, units: list[int]) -> tuple[list[int], int]:
    """Returns the strides of `units`, also where it is empty, and the unit number of the first element."""
    return (units[:-1], units[-1]) if units else (unit_strides(x.shape, (), leading(step, samples)), 0)
