"""Watches one pass of a model, operation by operation: where something is drawn at random, and what becomes of it.

PyTorch tags the operations that read a generator. What they return is followed: as long as it meets nothing but constants it is
noise; where it meets data, the noise is used, and the values on both sides say what it does and how much of it is dropped.
"""

import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from thinnet.models.trace import uses
from thinnet.models.trace.draws import Drawn, drawn_by
from thinnet.models.trace.lines import calling_line
from thinnet.models.trace.operation import Operation
from thinnet.models.trace.outside import recorded

LAYERS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::linear", "aten::convolution", "aten::baddbmm")
Made = tuple[str, Drawn | None, float]  # the operation that wrote last, whose use it was, and by which number it scaled
NOBODY: Made = ("", None, 1.0)
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
        self.seconds, self.bytes = 0.0, 0
        self.digests = False
        self.inputs: set[int] = set()
        self._weights = {storage_of(parameter) for parameter in model.parameters()}
        self._owned = self._weights | {storage_of(buffer) for buffer in model.buffers()}
        self._made: dict[int, Made] = {}  # by storage
        self._fed: dict[int, Drawn | None] = {}  # by storage: whose use the layer read that made it
        self._noise: dict[int, list[Drawn]] = {}
        self._constant: set[int] = set()
        self._held: list[Any] = []  # so that no storage of these is given to another tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation and looks at what it did."""
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        events = {id(leaf): self._noise[storage_of(leaf)] for leaf in inputs if storage_of(leaf) in self._noise}
        constant = {id(leaf) for leaf in inputs if storage_of(leaf) in self._constant}
        start = time.perf_counter()
        out = func(*args, **kwargs)
        seconds = time.perf_counter() - start
        self.seconds += seconds
        owned = {id(leaf) for leaf in inputs if storage_of(leaf) in self._owned}
        call = Operation(func, args, kwargs, out, set(events), constant, owned)
        event = drawn_by(call)
        if event is None:
            self._note(call, self._follow(call, events, seconds))
            return out
        event.name, event.line = self.place(), calling_line(self.outermost)
        if self.redrawn == (event.name, event.line):
            out = call.out = redraw(call)
        event.seconds, event.bytes = seconds, sum(_bytes(leaf) for leaf in call.outputs)
        self.drawn.append(event)
        if self.digests:
            event.digest = digest(call)
        if not event.use:
            self._mark(call.outputs, [event])
        self._note(call, [event] if event.use else [])
        return out

    def _note(self, call: Operation, used: list[Drawn]) -> None:
        """Notes what noise met, and who made what came out."""
        met = storage_of(call.data[0]) if call.data else 0
        for event in used:
            event.target = "weights" if met in self._weights else "input" if met in self.inputs else "activations"
            event.after, earlier, factor = self._made.get(met, NOBODY)
            event.follows = earlier is not None and earlier is not event
            event.factors.append(factor)
        before = {storage_of(leaf) for leaf in call.inputs}
        factor = uses.scaled_by(call)
        for key in before if factor != 1 and not used else ():
            earlier = self._made.get(key, NOBODY)[1]
            if earlier is not None:
                earlier.factors.append(factor)
        for leaf in call.outputs:
            if call.inplace or storage_of(leaf) not in before:  # and not a view
                self.bytes += 0 if call.inplace else _bytes(leaf)
                fed = [self._made[key][1] for key in before if key in self._made] if call.name in LAYERS else []
                self._fed[storage_of(leaf)] = next((event for event in fed if event is not None), None)
                self._made[storage_of(leaf)] = call.name, used[0] if used else None, factor

    def ended(self, out: Any) -> None:
        """Notes what the model returns."""
        for leaf in tree_leaves(out):
            if not isinstance(leaf, Tensor):
                continue
            event = self._made.get(storage_of(leaf), NOBODY)[1]
            if event is not None:
                event.at_output = True
            event = self._fed.get(storage_of(leaf))
            if event is not None and leaf.ndim:
                event.feeds = leaf.shape[-1]

    def _follow(self, call: Operation, events: dict[int, list[Drawn]], seconds: float) -> list[Drawn]:
        """Follows noise, and returns the draws that were used here."""
        outputs = call.outputs
        noise = list({id(event): event for held in events.values() for event in held}.values())
        for event in noise:
            event.seconds += seconds
        fresh = [event for event in noise if not event.use]
        if noise and not uses.used(call, noise):
            self._mark(outputs, noise)
            return []
        if noise or call.data:
            self._forget(outputs)
            if not noise and all(id(leaf) in call.owned for leaf in call.data):
                self._keep(self._owned, outputs)
            return fresh
        self._keep(self._constant, outputs)
        return []

    def _keep(self, kind: set[int], outputs: list[Tensor]) -> None:
        kind |= {storage_of(leaf) for leaf in outputs}
        self._held += [leaf.untyped_storage() for leaf in outputs]

    def _forget(self, outputs: list[Tensor]) -> None:
        """Data may have been written into what was a constant, or noise."""
        for leaf in outputs:
            self._noise.pop(storage_of(leaf), None)
            self._constant.discard(storage_of(leaf))
            self._owned.discard(storage_of(leaf))

    def _mark(self, outputs: list[Tensor], events: list[Drawn]) -> None:
        for leaf in outputs:
            self._constant.discard(storage_of(leaf))
            self._noise[storage_of(leaf)] = events
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
    if call.name == "thinnet::apply_noise":
        names = [argument.name for argument in call.func._schema.arguments]
        args = [value ^ 1 if name == "seed" else value for name, value in zip(names, call.args, strict=False)]
        return call.func(*args, **call.kwargs)
    devices = [leaf.device for leaf in call.outputs if leaf.device.type == "cuda"]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(REDRAWN)
        return call.func(*call.args, **call.kwargs)


def digest(call: Operation) -> int:
    """Returns a number that is another one where another mask was drawn: of the numbers, or of the name of a toss's coins."""
    if call.name == "thinnet::apply_noise":
        name = [call.argument(part) for part in ("rate", "seed", "step", "site", "samples")]
        return hash(tuple(None if part is None else tuple(part.flatten().tolist()) for part in name))
    return zlib.crc32(bytes(call.outputs[0].cpu().untyped_storage()))


def storage_of(tensor: Tensor) -> int:
    """Returns what tells memory from other memory as long as it is held."""
    return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else id(tensor)


def _bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes() if tensor.layout == torch.strided else 0


_WATCHED = threading.local()


def watched_now() -> bool:
    """Returns whether a model runs under a watch in this thread: what leaves dropped work out does it then, to be seen."""
    return getattr(_WATCHED, "depth", 0) > 0


@contextmanager
def watching(model: nn.Module, redrawn: tuple[str, str | None] | None = None) -> Iterator[Watch]:
    """Watches what runs in the context; the model's code ends at the frame that enters it."""
    watch = Watch(model, sys._getframe(2), redrawn)
    hooks = nn.modules.module
    handles = [
        hooks.register_module_forward_pre_hook(watch._enter),
        hooks.register_module_forward_hook(watch._leave, always_call=True),
    ]
    _WATCHED.depth = getattr(_WATCHED, "depth", 0) + 1
    try:
        with recorded(watch.place, watch.drawn, watch.outermost), watch:
            yield watch
    finally:
        _WATCHED.depth -= 1
        for handle in handles:
            handle.remove()
