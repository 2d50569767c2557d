"""What a model computes from the results of draws: whether one output is made of another."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from thinnet.models.trace.dispatched import Operation, storage_of
from thinnet.models.trace.record import Draw

LAYERS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::linear", "aten::convolution", "aten::baddbmm")
STATES = ("hidden", "state", "feature", "embed", "attention")  # in the names of outputs that are no predictions


def predictions(out: Any) -> set[int]:
    """Returns the storages of the tensors that a model returns, without those whose names say that they are states."""
    named = out.items() if isinstance(out, Mapping) else [("", out)]
    kept = [value for name, value in named if not any(part in str(name) for part in STATES)]
    return {storage_of(leaf) for leaf in tree_leaves(kept) if isinstance(leaf, Tensor) and leaf.ndim}


class Downstream:
    """By storage, the draws whose results went into a tensor, and those whose results went through a layer with weights.

    A set of draws is a number with one bit a draw: a pass has many operations.
    """

    def __init__(self) -> None:
        self._bits: dict[int, int] = {}  # by the id of a draw
        self._into: dict[int, int] = {}
        self._through: dict[int, int] = {}

    def note(self, call: Operation, keys: list[int], used: list[Draw]) -> None:
        """Notes what an operation made."""
        into = through = 0
        for key in keys:
            into |= self._into.get(key, 0)
            through |= self._through.get(key, 0)
        for draw in used:
            into |= self._bits.setdefault(id(draw), 1 << len(self._bits))
        if call.name in LAYERS and any(id(leaf) in call.owned for leaf in call.inputs):
            into, through = 0, through | into
        if into or through:
            for key in map(storage_of, call.outputs):
                self._into[key] = self._into.get(key, 0) | into
                self._through[key] = self._through.get(key, 0) | through

    def reaches(self, draw: Draw, storages: Collection[int]) -> bool:
        """Returns whether a layer computes one of some tensors from the result of a draw."""
        return any(self._through.get(key, 0) & self._bits.get(id(draw), 0) for key in storages)
