"""Where a model can be written to, and back: an entry of a module's own dictionaries, or the rate of a site."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from torch import nn

from thinnet.rng import Site


class Nothing(Enum):
    """What a slot holds where there is no entry; a member, so that copies of it are it."""

    HERE = "nothing"


ABSENT = Nothing.HERE


class Slot(Protocol):
    """One place that holds one value."""

    @property
    def owner(self) -> nn.Module:
        """The module that the place is in."""
        ...

    def get(self) -> Any:
        """Returns what is there, or ABSENT."""
        ...

    def put(self, value: Any) -> None:
        """Puts a value there, or takes the entry out where it is ABSENT."""
        ...


@dataclass(frozen=True, eq=False)
class Entry:
    """An entry of a dictionary of a module: of `_modules`, of hooks, or of its attributes, which are `__dict__`."""

    owner: nn.Module
    held: str
    key: Any

    @property
    def mapping(self) -> MutableMapping[Any, Any]:
        """The dictionary, as the module has it now."""
        return getattr(self.owner, self.held)

    def get(self) -> Any:
        """Returns the value, or ABSENT."""
        return self.mapping.get(self.key, ABSENT)

    def put(self, value: Any) -> None:
        """Writes, adds or removes the entry; the order of the others stays."""
        if value is ABSENT:
            self.mapping.pop(self.key, None)
        else:
            self.mapping[self.key] = value

    def following(self) -> list[Any]:
        """Returns the keys behind this one: what it takes to put it back where it was."""
        keys = list(self.mapping)
        return keys[keys.index(self.key) + 1 :] if self.key in self.mapping else []

    def move_before(self, keys: list[Any]) -> None:
        """Puts the entry before these again."""
        for key in keys:
            if key in self.mapping:
                self.mapping[key] = self.mapping.pop(key)


@dataclass(frozen=True, eq=False)
class Rate:
    """The rate of a site, which is counted anew when it is set."""

    owner: Site

    def get(self) -> Any:
        """Returns the rate."""
        return self.owner.p

    def put(self, value: Any) -> None:
        """Sets the rate."""
        self.owner.p = value
