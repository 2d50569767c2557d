"""Level "draws": every operation of a pass, the random draws among them, and where what they drew is used.

PyTorch tags the operations that read a generator. What they return is noise as long as it meets nothing but constants. Where it
meets data it is used, and the values on both sides show what the noise does and how much it drops.
"""

import ctypes
import time
import zlib
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from thinnet.models.trace import uses
from thinnet.models.trace.dispatched import Operation, bytes_of, storage_of, tensors_in
from thinnet.models.trace.draws import Draw, drawn_by
from thinnet.models.trace.lines import calling_line
from thinnet.models.trace.modules import Modules

LAYERS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::linear", "aten::convolution", "aten::baddbmm")
Made = tuple[str, Draw | None, float]  # the last operation that wrote, the draw that it used, and the number it scaled by
NOTHING: Made = ("", None, 1.0)
REDRAWN = 0x5EED  # a seed that differs from that of a pass
SiteId = tuple[str, str | None]  # the path of a module and the calling line


class Draws(TorchDispatchMode):
    """The dispatch mode that records the draws of a pass.

    Args:
        modules: of the pass.
        outermost: the frame at which the model's own code ends.
        inputs: what the model is called with.
        redrawn: the site that draws other numbers in this pass; all other sites draw as before.
        digests: whether each draw gets a checksum of what it drew.
    """

    def __init__(
        self, modules: Modules, outermost: FrameType, inputs: Any = (), redrawn: SiteId | None = None, digests: bool = False
    ) -> None:
        super().__init__()
        self.modules, self.outermost, self.redrawn, self.digests = modules, outermost, redrawn, digests
        self.draws: list[Draw] = []
        self.seconds, self.bytes, self.largest = 0.0, 0, 0
        model: nn.Module = modules.model
        self._inputs = {storage_of(leaf) for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)}
        self._weights = {storage_of(parameter) for parameter in model.parameters()}
        self._owned = self._weights | {storage_of(buffer) for buffer in model.buffers()}
        self._made: dict[int, Made] = {}  # by storage
        self._fed: dict[int, Draw | None] = {}  # by storage: the draw whose use fed the layer that made it
        self._noise: dict[int, list[Draw]] = {}
        self._constant: set[int] = set()
        self._held: list[Any] = []  # so that no storage of these is given to another tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation and records what it drew."""
        kwargs = kwargs or {}
        inputs = tensors_in(args) + tensors_in(kwargs.values()) if kwargs else tensors_in(args)
        keys = [storage_of(leaf) for leaf in inputs]
        events = {id(leaf): self._noise[key] for leaf, key in zip(inputs, keys, strict=True) if key in self._noise}
        constant = {id(leaf) for leaf, key in zip(inputs, keys, strict=True) if key in self._constant}
        start = time.perf_counter()
        out = func(*args, **kwargs)
        seconds = time.perf_counter() - start
        self.seconds += seconds
        owned = {id(leaf) for leaf, key in zip(inputs, keys, strict=True) if key in self._owned}
        call = Operation(func, args, kwargs, inputs, set(events), constant, owned)
        call.returned(out)
        draw = drawn_by(call)
        if draw is None:
            self._note(call, keys, self._follow(call, events, seconds))
            return out
        draw.name, draw.line = self.modules.place, calling_line(self.outermost)
        if self.redrawn == draw.site:
            out = redraw(call)
            call.returned(out)
        draw.seconds, draw.bytes = seconds, sum(bytes_of(leaf) for leaf in call.outputs)
        self.draws.append(draw)
        if self.digests:
            draw.digest = digest(call)
        if not draw.use:
            self._mark(call.outputs, [draw])
        self._note(call, keys, [draw] if draw.use else [])
        return out

    def _note(self, call: Operation, keys: list[int], used: list[Draw]) -> None:
        """Notes what noise met, and which operation made the outputs."""
        if used:
            self._note_use(call, used)
        before, factor = set(keys), uses.scaled_by(call)
        if factor != 1 and not used:
            for key in before:
                earlier = self._made.get(key, NOTHING)[1]
                if earlier is not None:
                    earlier.factors.append(factor)
        bytes_before = self.bytes
        for leaf in call.outputs:
            key = storage_of(leaf)
            if call.inplace or key not in before:  # and not a view
                self.bytes += 0 if call.inplace else bytes_of(leaf)
                fed = [self._made[other][1] for other in before if other in self._made] if call.name in LAYERS else []
                self._fed[key] = next((draw for draw in fed if draw is not None), None)
                self._made[key] = call.name, used[0] if used else None, factor
        if self.draws:
            self.largest = max(self.largest, self.bytes - bytes_before)

    def _note_use(self, call: Operation, used: list[Draw]) -> None:
        met = storage_of(call.data[0]) if call.data else 0
        for draw in used:
            draw.target = "weights" if met in self._weights else "input" if met in self._inputs else "activations"
            draw.after, earlier, factor = self._made.get(met, NOTHING)
            draw.follows = earlier is not None and earlier is not draw
            draw.factors.append(factor)

    def returned(self, out: Any) -> None:
        """Notes what the model returns."""
        for leaf in tree_leaves(out):
            if not isinstance(leaf, Tensor):
                continue
            draw = self._made.get(storage_of(leaf), NOTHING)[1]
            if draw is not None:
                draw.at_output = True
            draw = self._fed.get(storage_of(leaf))
            if draw is not None and leaf.ndim:
                draw.feeds = leaf.shape[-1]

    def _follow(self, call: Operation, events: dict[int, list[Draw]], seconds: float) -> list[Draw]:
        """Follows noise, and returns the draws that are used here."""
        noise = list({id(draw): draw for held in events.values() for draw in held}.values())
        for draw in noise:
            draw.seconds += seconds
        fresh = [draw for draw in noise if not draw.use]
        if noise and not uses.used(call, noise):
            self._mark(call.outputs, noise)
            return []
        if noise or call.data:
            self._forget(call.outputs)
            if not noise and all(id(leaf) in call.owned for leaf in call.data):
                self._keep(self._owned, call.outputs)
            return fresh
        self._keep(self._constant, call.outputs)
        return []

    def _keep(self, kind: set[int], outputs: list[Tensor]) -> None:
        kind |= {storage_of(leaf) for leaf in outputs}
        self._held += [leaf.untyped_storage() for leaf in outputs]

    def _forget(self, outputs: list[Tensor]) -> None:
        """Data may have been written into a constant, or into noise."""
        for key in map(storage_of, outputs):
            self._noise.pop(key, None)
            self._constant.discard(key)
            self._owned.discard(key)

    def _mark(self, outputs: list[Tensor], draws: list[Draw]) -> None:
        for leaf in outputs:
            self._constant.discard(storage_of(leaf))
            self._noise[storage_of(leaf)] = draws
            self._held.append(leaf.untyped_storage())


def redraw(call: Operation) -> Any:
    """Runs an operation again with other random numbers; the generators go on as if it had not."""
    if call.name == "thinnet::apply_noise":
        names = [argument.name for argument in call.func._schema.arguments]
        args = [value ^ 1 if name == "seed" else value for name, value in zip(names, call.args, strict=False)]
        return call.func(*args, **call.kwargs)
    devices = [leaf.device for leaf in call.outputs if leaf.device.type == "cuda"]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(REDRAWN)
        return call.func(*call.args, **call.kwargs)


def digest(call: Operation) -> int:
    """Returns a checksum of the numbers that were drawn, or of the key of a mask."""
    if call.name == "thinnet::apply_noise":
        key = [call.argument(part) for part in ("rate", "seed", "step", "site", "samples")]
        return hash(tuple(None if part is None else tuple(part.flatten().tolist()) for part in key))
    storage = call.outputs[0].cpu().untyped_storage()
    return zlib.crc32(ctypes.string_at(storage.data_ptr(), storage.nbytes()))
