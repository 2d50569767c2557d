"""Draws of NumPy's generator objects, whose methods cannot be replaced: their states before and after each module tell."""

import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from thinnet.models.trace.operations import Draws
from thinnet.models.trace.record import Call, Draw


class Objects:
    """Records that a generator object moved on, with the module that ran.

    Args:
        objects: random generators.
        draws: of the pass; where the sites of such objects are to draw other numbers, they all do.
    """

    def __init__(self, draws: Draws, objects: Iterable[Any]) -> None:
        self.draws = draws
        self.found = [each for each in objects if type(each).__module__.startswith("numpy.")]
        self.states: list[bytes] = []

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Looks at the objects before and after each module of the context."""
        if not self.found:
            yield
            return
        if any(not lines for _, lines in self.draws.redrawn.sites):
            for each in self.found:
                getattr(each, "random_raw", getattr(each, "bytes", None))(1 + len(self.draws.redrawn.end))  # type: ignore[misc]
        self.states = [_state(each) for each in self.found]
        self.draws.modules.graph = self
        try:
            yield
            self._look("")
        finally:
            self.draws.modules.graph = None

    def enter(self, call: Call, args: Any) -> None:
        """Looks before a module runs: what moved was moved by its caller."""
        self._look(self.draws.modules.place)

    def leave(self, call: Call, out: Any) -> Any:
        """Looks after a module ran."""
        self._look(call.name)

    def _look(self, name: str) -> None:
        for index, each in enumerate(self.found):
            state = _state(each)
            if state != self.states[index]:
                self.states[index] = state
                self.draws.draws.append(Draw(f"numpy.random.{type(each).__name__}", use="decides", name=name))


def _state(generator: Any) -> bytes:
    """Returns the state of a generator, to compare."""
    if hasattr(generator, "get_state"):
        return pickle.dumps(generator.get_state())
    return pickle.dumps(getattr(generator, "bit_generator", generator).state)
