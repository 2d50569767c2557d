"""One thing that was thinned: the changes that do it, and a switch that turns it off for a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from thinnet.models.rewrite.edits import Change


class Switch(Protocol):
    """What a piece asks in each pass: whether dropped work is left out, or done and then masked."""

    on: bool


@dataclass(frozen=True)
class Piece:
    """One thing that is thinned.

    Args:
        place: the path of its site.
        changes: of the model.
        switch: turns it off and on.
    """

    place: str
    changes: Sequence[Change]
    switch: Switch


class Obstacle(Exception):
    """Why something cannot be thinned, in a few words."""
