"""One part of a model that is thinned, and why others are not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from thinnet.models.rewrite.edits import Change


class Switch(Protocol):
    """Whether dropped work is skipped, or done and then masked, as for a comparison."""

    on: bool


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


class Obstacle(Exception):
    """Why a site cannot be thinned, in a few words."""
