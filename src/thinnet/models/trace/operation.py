"""One operation that was watched: what went in, what came out, and what of it is noise, a constant, or data."""

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves


class Operation:
    """An operation of PyTorch's dispatcher.

    Args:
        func: the overload.
        args, kwargs: what it was called with.
        out: what it returned.
        noisy: by `id`, the tensors that went in and are noise.
        constant: by `id`, the tensors that went in and are constants.
        owned: by `id`, the tensors that went in and come from parameters and buffers alone.
    """

    def __init__(
        self, func: Any, args: Any, kwargs: Any, out: Any, noisy: set[int], constant: set[int], owned: set[int]
    ) -> None:
        self.func, self.args, self.kwargs, self.out = func, args, kwargs, out
        self.noisy, self.constant, self.owned = noisy, constant, owned

    @property
    def name(self) -> str:
        """Its name without the overload, and without the underscore of an operation in place, as `aten::mul`."""
        return self.func._schema.name.rstrip("_")

    @property
    def inplace(self) -> bool:
        """Whether it writes into its first argument."""
        return self.func._schema.name.endswith("_")

    @property
    def inputs(self) -> list[Tensor]:
        """All tensors that went in."""
        return [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]

    @property
    def noise(self) -> list[Tensor]:
        """The tensors that went in and are noise."""
        return [leaf for leaf in self.inputs if id(leaf) in self.noisy]

    @property
    def data(self) -> list[Tensor]:
        """The tensors that went in and are neither noise nor constants."""
        return [leaf for leaf in self.inputs if id(leaf) not in self.noisy | self.constant]

    @property
    def shapes_noise(self) -> bool:
        """Whether all that noise meets is smaller and the model's own: a learned rate, say, that makes other noise of it."""
        size = max((leaf.numel() for leaf in self.noise), default=0)
        return all(id(leaf) in self.owned and (leaf.numel() < size or leaf.numel() == 1) for leaf in self.data)

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors that came out."""
        return [leaf for leaf in tree_leaves(self.out) if isinstance(leaf, Tensor)]

    def argument(self, name: str, default: Any = None) -> Any:
        """Returns an argument by its name in the schema, or what the schema has as its default, or `default`."""
        for place, argument in enumerate(self.func._schema.arguments):
            if argument.name == name:
                if name in self.kwargs:
                    return self.kwargs[name]
                if place < len(self.args):
                    return self.args[place]
                return argument.default_value if argument.has_default_value() else default
        return default
