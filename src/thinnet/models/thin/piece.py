"""One part of a model that is thinned, and why others are not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from thinnet.methods.elementwise.kept import Count
from thinnet.models.rewrite.edits import Change


class Switch(Protocol):
    """Whether dropped work is skipped, or done and then masked, as for a comparison."""

    on: bool


@dataclass(frozen=True)
class Settings:
    """The settings of a thinning: see `thin`."""

    groups: int
    count: Count
    always: bool
    seed: int


@dataclass(frozen=True)
class Piece:
    """One part of a model that is thinned.

    Args:
        place: the path of its site.
        changes: of the model.
        switch: turns thinning off and on.
    """

    place: str
    changes: Sequence[Change]
    switch: Switch


def is_watched(layers: Iterable[nn.Module]) -> bool:
    """Returns whether backward hooks read the gradients of a layer, as Opacus does for those of each sample.

    They would see the kept part alone, so all of it is computed.
    """
    return any(layer._backward_hooks or layer._backward_pre_hooks for layer in layers)


class Obstacle(Exception):
    """Why a site cannot be thinned, in a few words."""
