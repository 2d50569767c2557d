"""The gradient of a weight as its kept rows and columns, for an optimiser that takes it so.

    full[rows[i], columns[j]] = part[i, j], zero elsewhere

An optimiser asks for such gradients with `request`. Everybody else sees the full gradient: any operation on a
`CompactGradient` first puts the part into zeros, and from then on it is an ordinary gradient.
"""

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from thinnet.ops import schema
from thinnet.ops.take import put

_requests: WeakIdKeyDictionary = WeakIdKeyDictionary()  # parameter -> the optimiser that takes compact gradients


class Part:
    """What a gradient and its aliases share: its kept rows and columns or, once somebody looked, all of it.

    Args:
        part: `(1, some rows, some columns)`.
        rows: `(1, some)`, or None for all.
        columns: the same for axis 1.
        shape: of the full gradient.
    """

    def __init__(self, part: Tensor, rows: Tensor | None, columns: Tensor | None, shape: torch.Size) -> None:
        self.part: Tensor | None = part
        self.rows, self.columns, self.shape = rows, columns, shape
        self._full: Tensor | None = None

    def full(self) -> Tensor:
        """Returns the full gradient, and keeps it instead of the part: somebody may write to it."""
        if self._full is None:
            assert self.part is not None
            self._full, self.part = put(self.part, self.rows, self.columns, self.shape), None
        return self._full


class CompactGradient(Tensor):
    """A gradient that is zero outside some rows and columns. Every operation gets the full gradient.

    >>> gradient = CompactGradient(Part(torch.ones(1, 1, 2), torch.tensor([[1]]), None, torch.Size((3, 2))))
    >>> gradient + 0
    tensor([[0., 0.],
            [1., 1.],
            [0., 0.]])
    """

    held: Part

    @staticmethod
    def __new__(cls, held: Part) -> "CompactGradient":
        assert held.part is not None
        made = Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.part.dtype, device=held.part.device)  # type: ignore[attr-defined]
        made.held = held
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Serves Python: shape, dtype and the like do not need the numbers."""
        if func.__name__ == "__get__":
            return super().__torch_function__(func, types, args, kwargs)
        args, kwargs = tree_map_only(CompactGradient, full, (args, kwargs or {}))
        return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Serves C++: autograd, which detaches a gradient to store it and adds others, and communication."""
        if func is torch.ops.aten.detach.default and args[0].held.part is not None:
            return cls(args[0].held)
        dense, named = tree_map_only(CompactGradient, full, (args, kwargs or {}))
        out = func(*dense, **named)
        return args[0] if dense and out is dense[0] else out  # an operation in place returns what it was given


def full(gradient: Tensor) -> Tensor:
    """Returns a gradient as an ordinary tensor."""
    return gradient.held.full() if type(gradient) is CompactGradient else gradient


def request(parameters: Iterable[Tensor], optimiser: object) -> None:
    """Lets thinned layers give these parameters compact gradients, as long as the optimiser lives."""
    for parameter in parameters:
        _requests[parameter] = weakref.ref(optimiser)


def is_requested(weight: Tensor) -> bool:
    """Returns whether an optimiser takes compact gradients of a weight, and has the kernel for it.

    On a GPU none do: `torch.optim` updates all parameters in a few launches, and a compact step would launch three kernels for
    each layer to save a write and a read of its gradient. Layers in low precision, as GPUs run them, have no part to hand over.
    """
    optimiser = _requests.get(weight)
    if optimiser is None or optimiser() is None or schema.missing is not None:
        return False
    return weight.is_cpu and weight.dtype == torch.float32 and weight.ndim == 2 and weight.is_contiguous()
