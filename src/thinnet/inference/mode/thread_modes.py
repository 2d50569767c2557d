"""Gives modules another mode in some threads: a derived class makes `training` a property that depends on the thread.

This stays apart from `thinnet.models.rewrite`: `training` is read as an attribute, so only a property can depend on the thread,
and only a class can have a property. The dictionary of the module does not change. The last thread to leave restores the class.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from thinnet.inference.mode.norms_in_eval import NORMS
from thinnet.models.rewrite.functions import Intercepted

CLOSED = ("torch.nn.", "thinnet.")  # modules of these packages call no norm as a function


class Counts:
    """How often one thread has turned each module on and off, by the id of the module."""

    def __init__(self) -> None:
        self.on: Counter[int] = Counter()
        self.off: Counter[int] = Counter()
        self.first: dict[int, list[Callable[..., None]]] = {}  # to run at the next call of a module
        self.held = False

    @property
    def busy(self) -> bool:
        """Whether this thread is inside a context."""
        return bool(self.on or self.off or self.first)

    def turn(self, modules: Iterable[nn.Module], on: bool, by: int) -> None:
        """Turns modules on or off once more, or once less."""
        counts = self.on if on else self.off
        for module in modules:
            counts[id(module)] += by
            if counts[id(module)] <= 0:
                del counts[id(module)]


class Inside(threading.local):
    """The counts of this thread."""

    def __init__(self) -> None:
        self.counts = Counts()


inside = Inside()
_lock = threading.RLock()
_users: Counter[int] = Counter()
_classes: dict[type, type] = {}


class Turned:
    """The mixin of a module while any thread is inside."""

    @property
    def training(self) -> bool:
        """The mode, in this thread."""
        counts, number = inside.counts, id(self)
        return counts.on[number] > 0 or (counts.off[number] == 0 and vars(self)["training"])

    @training.setter
    def training(self, mode: bool) -> None:
        vars(self)["training"] = mode

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the module; if it is on, functional norms stay in eval."""
        counts = inside.counts
        waiting = counts.first.get(id(self))
        while waiting:
            waiting.pop()(args, kwargs)
        compiled = vars(self).get("_compiled_call_impl") is not None and counts.busy
        call = self._call_impl if compiled else super().__call__  # type: ignore[misc]
        if counts.held or not counts.on[id(self)] or origin(type(self)).__module__.startswith(CLOSED):
            return call(*args, **kwargs)
        counts.held = True
        try:
            with Intercepted(NORMS):
                return call(*args, **kwargs)
        finally:
            counts.held = False

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and pickles have the original class."""
        _, args, *rest = super().__reduce_ex__(protocol)
        return new_module, tuple(origin(arg) if isinstance(arg, type) else arg for arg in args), *rest


def new_module(kind: type, *args: Any) -> Any:
    """Returns an empty module of a class."""
    return kind.__new__(kind, *args)


class Uncompiled:
    """The mixin of a compiled module: threads inside run the original module."""

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the original module, or its compiled form."""
        return self._orig_mod(*args, **kwargs) if inside.counts.busy else super().__call__(*args, **kwargs)  # type: ignore[misc]


def origin(kind: type) -> type:
    """Returns the original class of a module."""
    return kind.__mro__[2] if issubclass(kind, (Turned, Uncompiled)) else kind


def _turned(kind: type, mixed: type) -> type:
    if kind not in _classes:
        names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
        _classes[kind] = type.__new__(type(kind), kind.__name__, (mixed, kind), names)
    return _classes[kind]


def enter(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Gives modules their derived classes, or counts one more user. Either all of them change or none."""
    with _lock:
        done: list[nn.Module] = []
        try:
            for module in modules:
                if _users[id(module)] == 0:
                    mixed = Uncompiled if "_orig_mod" in module._modules else Turned
                    object.__setattr__(module, "__class__", _turned(type(module), mixed))
                _users[id(module)] += 1
                done.append(module)
        except BaseException:
            leave(done)
            raise
        return done


def leave(modules: Iterable[nn.Module]) -> None:
    """Counts one user less, and restores the class of modules without users."""
    with _lock:
        for module in modules:
            _users[id(module)] -= 1
            if _users[id(module)] == 0:
                del _users[id(module)]
                object.__setattr__(module, "__class__", origin(type(module)))
