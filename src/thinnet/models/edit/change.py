"""An edit of a model: an ordered tuple of changes, which a person can read, and which can be taken back."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from thinnet.models.edit.slots import ABSENT, Entry, Slot


class Write:
    """A value for one slot; once it is made it knows what was there before.

    Args:
        slot: where.
        after: what is put there, or ABSENT.
    """

    def __init__(self, slot: Slot, after: Any) -> None:
        self.slot, self.after = slot, after
        self.before: Any = ABSENT
        self._following: list[Any] = []
        self._shared: list[str] = []

    def make(self) -> None:
        """Puts the value there."""
        self.before = self.slot.get()
        if isinstance(self.slot, Entry) and self.after is ABSENT:
            self._following = self.slot.following()
        if isinstance(self.before, nn.Module) and isinstance(self.after, nn.Module):
            now = self.after._parameters
            self._shared = [
                name for name, held in self.before._parameters.items() if held is not None and now.get(name) is held
            ]
        self.slot.put(self.after)

    def stands(self) -> bool:
        """Returns whether the slot holds what was put there."""
        now = self.slot.get()
        return now is self.after or (isinstance(now, (int, float)) and now == self.after)

    def back(self) -> None:
        """Puts back what was there; a module takes over the mode, and the parameters of its own, as they are now."""
        if isinstance(self.before, nn.Module) and isinstance(self.after, nn.Module):
            self.before.training = self.after.training
            for name in self._shared:
                self.before._parameters[name] = self.after._parameters[name]
        self.slot.put(self.before)
        if isinstance(self.slot, Entry) and self._following:
            self.slot.move_before(self._following)


class Change:
    """One change of a model: what a line of the diff says, and the writes that make it.

    Args:
        sign: "+" for what is put in, "~" for what is changed, "-" for what is taken out.
        place: the path of the module, and the attribute where it is one.
        text: what is changed.
        reason: why here, where the library chose.
        writes: in the order in which they are made.
    """

    def __init__(self, sign: str, place: str, text: str, writes: Sequence[Write], reason: str = "") -> None:
        self.sign, self.place, self.text, self.reason = sign, place, text, reason
        self.writes = tuple(writes)

    def __str__(self) -> str:
        why = f"  ({self.reason})" if self.reason else ""
        return f"{self.sign} {self.place or '(the model)'}: {self.text}{why}"

    __repr__ = __str__

    def stands(self) -> bool:
        """Returns whether the model is at this place as the change left it."""
        return all(write.stands() for write in self.writes)


class Edit(tuple[Change, ...]):
    """What was changed in a model, in order. `print(edit)` shows it, one line a change; `edit.undo()` takes it back.

    `notes` says what a reader should know beside: what was left as it was, and by which order places were chosen.

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

    def __str__(self) -> str:
        return "\n".join([*map(str, self), *(f"# {note}" for note in self.notes)]) or "# nothing to change"

    def undo(self) -> None:
        """Puts the model back: the same modules, hooks and attributes; parameters keep the values that they have now.

        Raises:
            ValueError: the model was changed at these places in the meantime, or the edit is undone; nothing is changed then.
        """
        if self.undone:
            raise ValueError("Edit.undo: an edit must be undone once; this one is undone already. Make the edit again.")
        now = {id(module) for module in self.model.modules()}
        moved = [change.place for change in self if not change.stands() or not self._owners(change) <= now]
        if moved:
            places = ", ".join(place or "(the model)" for place in moved)
            raise ValueError(
                f"Edit.undo: places must be as the edit left them; changed since: {places}. Undo later edits first."
            )
        for write in reversed([write for change in self for write in change.writes]):
            write.back()
        self.undone = True

    def _owners(self, change: Change) -> set[int]:
        return {id(write.slot.owner) for write in change.writes} & self._inside


def made(model: nn.Module, changes: Iterable[Change], notes: Iterable[str] = ()) -> Edit:
    """Makes changes that were planned and returns them as an edit; if one fails, those before it are taken back."""
    edit = Edit(changes)
    edit.notes, edit.model = tuple(notes), model
    done: list[Write] = []
    try:
        for change in edit:
            for write in change.writes:
                write.make()
                done.append(write)
    except BaseException:
        for write in reversed(done):
            write.back()
        raise
    edit._inside = frozenset(id(module) for module in model.modules())
    return edit
