"""The entry: runs a model under the observers of one level, and returns the record."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from thinnet.models.trace.functions import FunctionMode, Functions, Graph, Whole
from thinnet.models.trace.modules import Modules, Values
from thinnet.models.trace.operations import Draws, Redrawn
from thinnet.models.trace.outside import Outside
from thinnet.models.trace.record import Call, Draw, Node


@dataclass
class Trace:
    """The record of a pass.

    Args:
        calls: of modules, in the order in which they began.
        ended: the same calls, in the order in which they ended: a module after its children.
        nodes: modules that count as a whole and functions, in order, at level "functions".
        draws: of the forward pass, in order, at level "draws".
        backward_draws: those of the backward pass.
        seconds: what the operations took, at level "draws".
        bytes: how much memory they made.
        largest: the most memory that one operation made after the first draw.
    """

    calls: list[Call]
    ended: list[Call]
    nodes: list[Node] = field(default_factory=list)
    draws: list[Draw] = field(default_factory=list)
    backward_draws: list[Draw] = field(default_factory=list)
    seconds: float = 0.0
    bytes: int = 0
    largest: int = 0

    @property
    def visited(self) -> set[str]:
        """The paths of the modules that ran."""
        return {call.name for call in self.calls}


def trace(
    model: nn.Module,
    run: Callable[[], Any],
    *,
    level: Literal["modules", "functions", "draws"] = "modules",
    own: bool = False,
    values: Values | None = None,
    functions: Functions | None = None,
    whole: Whole = lambda module: False,
    distinct: bool = False,
    inputs: Any = (),
    redrawn: Redrawn | None = None,
    hold: bool = False,
    objects: Sequence[Any] = (),
    loss: Callable[[Any], Tensor | None] | None = None,
) -> Trace:
    """Runs a model and returns the record of what it did. It runs as it is: `preserve_state` restores what it changes.

    Args:
        model: the model.
        run: runs it once, or several times.
        level: "modules" records calls of modules; "functions" also the flow of data through functions and whole modules;
            "draws" instead every random draw with its calling line, its use and its rate.
        own: puts hooks on the model's modules instead of global ones, so that other threads are not seen.
        values: a callback that meets values of modules.
        functions: a callback for calls to functions.
        whole: at level "functions", which modules are one node.
        distinct: at level "functions", whether a whole module that returns an input as it is returns a view of it instead.
        inputs: at level "draws", what the model is called with, to recognise noise on it.
        redrawn: at level "draws", the sites that draw other numbers.
        hold: at level "draws", whether each draw holds the tensor that its use made.
        objects: at level "draws", random generators that the model reaches; those of NumPy are watched.
        loss: at level "draws", makes a loss of the output; its backward pass is observed too. None for no backward pass.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.25))
    >>> [call.name for call in trace(model, lambda: model(torch.ones(3, 4))).ended]
    ['0', '1', '2', '']
    >>> [(draw.name, draw.p) for draw in trace(model, lambda: model(torch.ones(3, 4)), level="draws").draws]
    [('2', 0.25)]
    """
    modules = Modules(model, own, values)
    if level == "draws":
        draws = Draws(modules, sys._getframe(1), inputs, redrawn, loss is not None, hold)
        return _traced_draws(modules, run, draws, objects, loss)
    graph = Graph(modules, whole, distinct) if level == "functions" else None
    with modules.observed(), ExitStack() as modes:
        if graph is not None:
            modes.enter_context(graph.operations)
            modes.enter_context(graph)
        if functions is not None or (values is not None and values.functions):
            modes.enter_context(FunctionMode(modules, functions))
        out = run()
    if graph is not None:
        graph.returned(out)
    return Trace(modules.calls, modules.ended, [] if graph is None else graph.nodes)


def _traced_draws(
    modules: Modules, run: Callable[[], Any], draws: Draws, objects: Sequence[Any], loss: Callable[[Any], Tensor | None] | None
) -> Trace:
    with modules.observed(), _tracing():
        with Outside(draws, objects).observed(), draws:
            out = run()
        draws.returned(out)
        record = Trace(modules.calls, modules.ended, [], draws.draws)
        value = None if loss is None else loss(out)  # what it draws itself is no draw of the model
        if value is not None:
            draws.draws = record.backward_draws
            with Outside(draws, objects).observed(), draws:
                value.backward()
    record.seconds, record.bytes, record.largest = draws.seconds, draws.bytes, draws.largest
    return record


_TRACING = threading.local()


def tracing_draws() -> bool:
    """Returns whether this thread traces draws: code that skips dropped work then does it, to be seen."""
    return getattr(_TRACING, "depth", 0) > 0


@contextmanager
def _tracing() -> Iterator[None]:
    _TRACING.depth = getattr(_TRACING, "depth", 0) + 1
    try:
        yield
    finally:
        _TRACING.depth -= 1
