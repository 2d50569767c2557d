"""One operation of PyTorch's dispatcher, and which of its inputs are noise, constants, or data."""

from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor


class Operation:
    """A dispatched operation.

    Args:
        func: the overload.
        args, kwargs: its arguments.
        noisy: the ids of the inputs that are noise.
        constant: the ids of the inputs that are constants.
        owned: the ids of the inputs that come from parameters and buffers alone.
    """

    def __init__(
        self, func: Any, args: Any, kwargs: Any, inputs: list[Tensor], noisy: set[int], constant: set[int], owned: set[int]
    ) -> None:
        self.func, self.args, self.kwargs, self.inputs = func, args, kwargs, inputs
        self.noisy, self.constant, self.owned = noisy, constant, owned
        self.name, self.inplace, self.seeded, self.rated = described(func)
        self.out: Any = None
        self.outputs: list[Tensor] = []

    def returned(self, out: Any) -> None:
        """Notes what the operation returned."""
        self.out, self.outputs = out, tensors_in((out,))

    @cached_property
    def noise(self) -> list[Tensor]:
        """The inputs that are noise."""
        return [leaf for leaf in self.inputs if id(leaf) in self.noisy]

    @cached_property
    def data(self) -> list[Tensor]:
        """The inputs that are neither noise nor constants."""
        if not self.noisy and not self.constant:
            return self.inputs
        return [leaf for leaf in self.inputs if id(leaf) not in self.noisy and id(leaf) not in self.constant]

    @property
    def shapes_noise(self) -> bool:
        """Whether noise meets only smaller tensors of the model, such as a learned rate: the result is noise still."""
        size = max((leaf.numel() for leaf in self.noise), default=0)
        return all(id(leaf) in self.owned and (leaf.numel() < size or leaf.numel() == 1) for leaf in self.data)

    def argument(self, name: str, default: Any = None) -> Any:
        """Returns an argument by its name in the schema; its default, or `default`, where it was not given."""
        for place, argument in enumerate(self.func._schema.arguments):
            if argument.name == name:
                if name in self.kwargs:
                    return self.kwargs[name]
                if place < len(self.args):
                    return self.args[place]
                return argument.default_value if argument.has_default_value() else default
        return default


RATES = ("dropout_p", "p_dropout", "dropout_prob")  # arguments of kernels, mostly of attention, that drop on their own


@cache
def described(func: Any) -> tuple[str, bool, bool, bool]:
    """Returns the name of an overload without its in-place underscore, and whether it is in place, may draw, and takes a rate.

    >>> described(torch.ops.aten.bernoulli_.float)
    ('aten::bernoulli', True, True, False)
    """
    name = func._schema.name
    rated = any(argument.name in RATES for argument in func._schema.arguments)
    return name.rstrip("_"), name.endswith("_"), torch.Tag.nondeterministic_seeded in func.tags, rated


def tensors_in(values: Any) -> list[Tensor]:
    """Returns the tensors among the arguments, or the results, of an operation: these hold at most lists of tensors."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors_in(value)
    return found


def storage_of(tensor: Tensor) -> int:
    """Returns a number that identifies the memory of a tensor as long as the memory is held."""
    return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else id(tensor)


def bytes_of(tensor: Tensor) -> int:
    """Returns the size of the memory of a tensor."""
    return tensor.untyped_storage().nbytes() if tensor.layout == torch.strided else 0
