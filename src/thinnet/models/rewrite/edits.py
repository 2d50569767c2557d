"""Edits of a model: writes that can be undone, grouped into changes that a person can read."""

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from torch import nn

from thinnet.report.table import Table, Tabular
from thinnet.rng import Site


class Nothing(Enum):
    """The value of a slot without an entry. It is an enum member because copies and pickles of a member are the member."""

    HERE = "nothing"


ABSENT = Nothing.HERE


class Slot(Protocol):
    """One place of a model that holds one value, or `ABSENT`."""

    @property
    def owner(self) -> nn.Module:
        """The module that the place belongs to."""
        ...

    def get(self) -> Any:
        """Returns the value, or `ABSENT`."""
        ...

    def put(self, value: Any) -> None:
        """Writes the value; `ABSENT` removes the entry."""
        ...


@dataclass(frozen=True, eq=False)
class Entry:
    """An entry of a dictionary of a module: of `_modules`, of its hooks, or of its attributes in `__dict__`."""

    owner: nn.Module
    held: str
    key: Any

    @property
    def mapping(self) -> MutableMapping[Any, Any]:
        """The dictionary that the module has now."""
        return getattr(self.owner, self.held)

    def get(self) -> Any:
        """Returns the value, or `ABSENT`."""
        return self.mapping.get(self.key, ABSENT)

    def put(self, value: Any) -> None:
        """Writes, adds or removes the entry. The other entries keep their order."""
        if value is ABSENT:
            self.mapping.pop(self.key, None)
        else:
            self.mapping[self.key] = value

    def following(self) -> list[Any]:
        """Returns the keys behind this one: they say where the entry belongs."""
        keys = list(self.mapping)
        return keys[keys.index(self.key) + 1 :] if self.key in self.mapping else []

    def move_before(self, keys: list[Any]) -> None:
        """Moves the entry in front of these keys."""
        for key in keys:
            if key in self.mapping:
                self.mapping[key] = self.mapping.pop(key)


@dataclass(frozen=True, eq=False)
class Rate:
    """The rate of a site. Setting it checks the value."""

    owner: Site

    def get(self) -> Any:
        """Returns the rate."""
        return self.owner.p

    def put(self, value: Any) -> None:
        """Sets the rate."""
        self.owner.p = value


@dataclass(frozen=True, eq=False)
class Held:
    """An attribute of an object that modules share, as of a configuration; `owner` is a module that holds it."""

    owner: nn.Module
    holder: Any
    key: str

    def get(self) -> Any:
        """Returns the value, or `ABSENT`."""
        return getattr(self.holder, self.key, ABSENT)

    def put(self, value: Any) -> None:
        """Sets the attribute."""
        setattr(self.holder, self.key, value)


class Write:
    """One value for one slot. It remembers the value that it replaces.

    Args:
        slot: the place.
        after: the new value, or `ABSENT`.
    """

    def __init__(self, slot: Slot, after: Any) -> None:
        self.slot, self.after = slot, after
        self.before: Any = ABSENT
        self._following: list[Any] = []
        self._shared: list[str] = []

    def apply(self) -> None:
        """Writes the value."""
        self.before = self.slot.get()
        if isinstance(self.slot, Entry) and self.after is ABSENT:
            self._following = self.slot.following()
        if isinstance(self.before, nn.Module) and isinstance(self.after, nn.Module):
            now = self.after._parameters
            self._shared = [
                name for name, held in self.before._parameters.items() if held is not None and now.get(name) is held
            ]
        self.slot.put(self.after)

    def is_applied(self) -> bool:
        """Returns whether the slot still holds the new value."""
        now = self.slot.get()
        return now is self.after or (isinstance(now, (int, float)) and now == self.after)

    def undo(self) -> None:
        """Restores the old value. An old module takes over the current mode, and the current parameters that both share."""
        if isinstance(self.before, nn.Module) and isinstance(self.after, nn.Module):
            self.before.training = self.after.training
            for name in self._shared:
                self.before._parameters[name] = self.after._parameters[name]
        self.slot.put(self.before)
        if isinstance(self.slot, Entry) and self._following:
            self.slot.move_before(self._following)


class Change:
    """One line of an edit.

    Args:
        sign: "+" for what is added, "-" for what is removed, "~" for what is changed.
        place: the path of the module, followed by the attribute if there is one.
        text: what changes.
        writes: in the order in which they are made.
        reason: why the library chose this place.
    """

    def __init__(self, sign: str, place: str, text: str, writes: Sequence[Write], reason: str = "") -> None:
        self.sign, self.place, self.text, self.reason = sign, place, text, reason
        self.writes = tuple(writes)

    def __str__(self) -> str:
        why = f"  ({self.reason})" if self.reason else ""
        return f"{self.sign} {self.place or '(the model)'}: {self.text}{why}"

    __repr__ = __str__

    def is_applied(self) -> bool:
        """Returns whether every slot of the change still holds its new value."""
        return all(write.is_applied() for write in self.writes)


class Edit(Tabular, tuple[Change, ...]):
    """The changes of a model, in order. `print(edit)` shows one line for each change; `edit.undo()` reverts them.

    `notes` lists what was left unchanged and why.

    >>> from thinnet.models.edit import insert
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> edit = insert(model, {"1": 0.1})
    >>> print(edit)
    + 1: thinnet.nn.Dropout(p=0.1, inplace=False) behind ReLU
    >>> edit.undo()
    >>> list(model[1].children())
    []
    """

    notes: tuple[str, ...] = ()
    model: nn.Module
    undone = False
    _inside: frozenset[int]

    @classmethod
    def of(cls, model: nn.Module, changes: Iterable[Change], notes: Iterable[str]) -> "Edit":
        """Returns the edit of changes that are applied."""
        edit = cls(changes)
        edit.notes, edit.model = tuple(notes), model
        edit._inside = frozenset(id(module) for module in model.modules())
        return edit

    def __str__(self) -> str:
        return "\n".join([*map(str, self), *(f"# {note}" for note in self.notes)]) or "# nothing to change"

    def tables(self) -> list[Table]:
        """Returns one table with a row a change, for notebooks."""
        rows = [(change.place or "(the model)", change.sign, change.text, change.reason) for change in self]
        return [Table(("place", "", "change", "why"), rows, "" if self else "nothing to change", notes=self.notes)]

    def undo(self) -> None:
        """Restores the modules, hooks and attributes. Parameters keep their current values.

        Raises:
            ValueError: a later change touched one of these places, or the edit is undone already. The model is unchanged then.
        """
        if self.undone:
            raise ValueError("Edit.undo: an edit must be undone once; this one is undone already. Make the edit again.")
        now = {id(module) for module in self.model.modules()}
        moved = [change.place for change in self if not change.is_applied() or not self._owners(change) <= now]
        if moved:
            places = ", ".join(place or "(the model)" for place in moved)
            raise ValueError(
                f"Edit.undo: places must be as the edit left them; changed since: {places}. Undo later edits first."
            )
        for write in reversed([write for change in self for write in change.writes]):
            write.undo()
        self.undone = True

    def _owners(self, change: Change) -> set[int]:
        return {id(write.slot.owner) for write in change.writes} & self._inside
