"""Watches one pass of a model, operation by operation: where something is drawn at random, and what becomes of it.

PyTorch tags the operations that read a generator. What they return is followed: as long as it meets nothing but constants it is
noise; where it meets data, the noise is used, and the values on both sides say what it does and how much of it is dropped.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from thinnet.model import uses
from thinnet.model.draws import Drawn, drawn_by
from thinnet.model.lines import calling_line
from thinnet.model.operation import Operation
from thinnet.model.outside import recorded

REDRAWN = 0x5EED  # another seed than that of a pass


class Watch(TorchDispatchMode):
    """The dispatch mode of one pass; `drawn` holds what was found, in order.

    Args:
        model: what runs.
        outermost: the frame at which the model's own code ends.
        redrawn: the module path and the line of a site whose numbers are drawn another time, all others being the same.
    """

    def __init__(self, model: nn.Module, outermost: FrameType, redrawn: tuple[str, str | None] | None = None) -> None:
        super().__init__()
        self.redrawn = redrawn
        self.names = {module: name for name, module in model.named_modules()}
        self.outermost = outermost
        self.inside: list[str] = []
        self.visited: set[str] = set()
        self.drawn: list[Drawn] = []
        self.seconds = 0.0
        self._noise: dict[int, list[Drawn]] = {}  # by storage
        self._constant: set[int] = set()
        self._held: list[Any] = []  # so that no storage of these is given to another tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation and looks at what it did."""
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        events = {id(leaf): self._noise[_key(leaf)] for leaf in inputs if _key(leaf) in self._noise}
        constant = {id(leaf) for leaf in inputs if _key(leaf) in self._constant}
        start = time.perf_counter()
        out = func(*args, **kwargs)
        seconds = time.perf_counter() - start
        self.seconds += seconds
        call = Operation(func, args, kwargs, out, set(events), constant)
        event = drawn_by(call)
        if event is None:
            self._follow(call, events, seconds)
            return out
        event.name, event.line = self.place(), calling_line(self.outermost)
        if self.redrawn == (event.name, event.line):
            out = call.out = redraw(call)
        event.seconds, event.bytes = seconds, sum(_bytes(leaf) for leaf in call.outputs)
        self.drawn.append(event)
        if not event.use:
            self._mark(call.outputs, [event])
        return out

    def _follow(self, call: Operation, events: dict[int, list[Drawn]], seconds: float) -> None:
        outputs = call.outputs
        noise = list({id(event): event for held in events.values() for event in held}.values())
        for event in noise:
            event.seconds += seconds
        if noise and not uses.used(call, noise):
            self._mark(outputs, noise)
        elif noise or call.data:
            self._forget(outputs)
        else:
            self._constant |= {_key(leaf) for leaf in outputs}
            self._held += [leaf.untyped_storage() for leaf in outputs]

    def _forget(self, outputs: list[Tensor]) -> None:
        """Data may have been written into what was a constant, or noise."""
        for leaf in outputs:
            self._noise.pop(_key(leaf), None)
            self._constant.discard(_key(leaf))

    def _mark(self, outputs: list[Tensor], events: list[Drawn]) -> None:
        for leaf in outputs:
            self._constant.discard(_key(leaf))
            self._noise[_key(leaf)] = events
            self._held.append(leaf.untyped_storage())

    def place(self) -> str:
        """Returns the path of the innermost module that runs now."""
        return self.inside[-1] if self.inside else ""

    def _enter(self, module: nn.Module, args: Any) -> None:
        name = self.names.get(module)
        if name is None:  # made in a forward pass, or not a part of the model
            name = f"{self.place()}.<{type(module).__name__}>".lstrip(".")
        self.inside.append(name)
        self.visited.add(name)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self.inside.pop()


def redraw(call: Operation) -> Any:
    """Runs an operation that drew again with other random numbers; the generators go on as if it had not."""
    if call.name == "thinnet::toss":
        names = [argument.name for argument in call.func._schema.arguments]
        args = [value ^ 1 if name == "seed" else value for name, value in zip(names, call.args, strict=False)]
        return call.func(*args, **call.kwargs)
    devices = [leaf.device for leaf in call.outputs if leaf.device.type == "cuda"]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(REDRAWN)
        return call.func(*call.args, **call.kwargs)


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else id(tensor)


def _bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes() if tensor.layout == torch.strided else 0


@contextmanager
def watching(model: nn.Module, redrawn: tuple[str, str | None] | None = None) -> Iterator[Watch]:
    """Watches what runs in the context; the model's code ends at the frame that enters it."""
    watch = Watch(model, sys._getframe(2), redrawn)
    hooks = nn.modules.module
    handles = [
        hooks.register_module_forward_pre_hook(watch._enter),
        hooks.register_module_forward_hook(watch._leave, always_call=True),
    ]
    try:
        with recorded(watch.place, watch.drawn, watch.outermost), watch:
            yield watch
    finally:
        for handle in handles:
            handle.remove()
