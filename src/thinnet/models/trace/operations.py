"""Level "draws": every operation of a pass, the random draws among them, and where what they drew is used.

PyTorch tags the operations that read a generator. What they return is noise as long as it meets nothing but constants. Where it
meets data it is used, and the values on both sides show what the noise does and how much it drops.
"""

import ctypes
import time
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch import Tensor, nn
from torch.random import fork_rng, manual_seed
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from thinnet.models.trace import uses
from thinnet.models.trace.dispatched import Operation, bytes_of, storage_of, tensors_in
from thinnet.models.trace.downstream import LAYERS, Downstream, predictions
from thinnet.models.trace.draws import drawn_by
from thinnet.models.trace.lines import calling_lines
from thinnet.models.trace.modules import Modules
from thinnet.models.trace.noise import Noise, together
from thinnet.models.trace.record import ADDRESSED, Draw, SiteId, sketch

Made = tuple[str, Draw | None, float]  # the last operation that wrote, the draw that it used, and the number it scaled by
NOTHING: Made = ("", None, 1.0)
ADDRESS = ("rate", "seed", "step", "site", "samples", "units", "heads", "first_query", "first_key")
FUSED = ("aten::native_dropout", "aten::_fused_dropout")  # which return data, and the mask
REDRAWN = 0x5EED  # a seed that differs from that of a pass


@dataclass(frozen=True)
class Redrawn:
    """The sites that draw other numbers in a pass; all other sites draw as before.

    Args:
        sites: the sites.
        end: "low" or "high" for the lowest, or the highest, numbers where the distribution is known; "" for another seed.
    """

    sites: Collection[SiteId] = ()
    end: str = ""

    @property
    def seed(self) -> int:
        """The seed of the other numbers."""
        return REDRAWN + ("low", "high").index(self.end) if self.end else REDRAWN


class Draws(TorchDispatchMode):
    """The dispatch mode that records the draws of a pass.

    Args:
        modules: of the pass.
        outermost: the frame at which the model's own code ends.
        inputs: what the model is called with.
        redrawn: the sites that draw other numbers in this pass.
        digests: whether each draw gets a checksum of what it drew.
        hold: whether each draw gets the tensor that its use makes.
    """

    def __init__(
        self,
        modules: Modules,
        outermost: FrameType,
        inputs: Any = (),
        redrawn: Redrawn | None = None,
        digests: bool = False,
        hold: bool = False,
    ) -> None:
        super().__init__()
        self.modules, self.outermost, self.digests, self.hold = modules, outermost, digests, hold
        self.redrawn = redrawn or Redrawn()
        self.draws: list[Draw] = []
        self.seconds, self.bytes, self.largest = 0.0, 0, 0
        model: nn.Module = modules.model
        self._inputs = {storage_of(leaf) for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)}
        self._weights = {storage_of(parameter) for parameter in model.parameters()}
        self._owned = self._weights | {storage_of(buffer) for buffer in model.buffers()}
        self._made: dict[int, Made] = {}  # by storage
        self._fed: dict[int, Draw | None] = {}  # by storage: the draw whose use fed the layer that made it
        self._downstream = Downstream()
        self._noise: dict[int, Noise] = {}  # by storage
        self._constant: set[int] = set()
        self._held: list[Any] = []  # so that no storage of these is given to another tensor

    def placed(self, draw: Draw) -> Draw:
        """Returns a draw with its module and its calling lines, and records it."""
        draw.name, draw.lines = self.modules.place, calling_lines(self.modules.top or self.outermost)
        self.draws.append(draw)
        return draw

    def noise_in(self, tensor: Tensor) -> Noise | None:
        """Returns what is known of a tensor as noise; None where it is data."""
        return self._noise.get(storage_of(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation and records what it drew."""
        kwargs = kwargs or {}
        inputs = tensors_in(args) + tensors_in(kwargs.values()) if kwargs else tensors_in(args)
        keys = [storage_of(leaf) for leaf in inputs]
        noise = {id(leaf): self._noise[key] for leaf, key in zip(inputs, keys, strict=True) if key in self._noise}
        constant = {id(leaf) for leaf, key in zip(inputs, keys, strict=True) if key in self._constant}
        owned = {id(leaf) for leaf, key in zip(inputs, keys, strict=True) if key in self._owned}
        start = time.perf_counter()
        out = func(*args, **kwargs)
        seconds = time.perf_counter() - start
        self.seconds += seconds
        call = Operation(func, args, kwargs, inputs, set(noise), constant, owned)
        call.returned(out)
        drawn = drawn_by(call)
        if drawn is None:
            self._note(call, keys, self._follow(call, list(noise.values()), seconds))
            return out
        draw, made = drawn
        self.placed(draw)
        if draw.site in self.redrawn.sites:
            out = redraw(call, made, self.redrawn)
            call.returned(out)
        draw.seconds, draw.bytes = seconds, sum(bytes_of(leaf) for leaf in call.outputs)
        if self.digests:
            draw.digest = digest(call)
        if not draw.use:
            self._mark(call.outputs, made)
        self._note(call, keys, [draw] if draw.use else [])
        return out

    def _note(self, call: Operation, keys: list[int], used: list[Draw]) -> None:
        """Notes what noise met, and which operation made the outputs."""
        if used:
            self._note_use(call, used)
        self._downstream.note(call, keys, used)
        before, factor = set(keys), uses.scaled_by(call)
        earlier = [draw for key in before if (draw := self._made.get(key, NOTHING)[1]) is not None]
        if factor is not None and not used:
            for draw in earlier:
                draw.factors.append(factor)
        if earlier and call.name in ("aten::add", "aten::sub"):
            for draw in earlier:  # x + x * noise
                draw.use = "multiplies" if draw.use == "samples" and draw.met in before else draw.use
        bytes_before = self.bytes
        made = used[0] if used else earlier[0] if earlier and factor is not None else None
        fed = earlier[0] if earlier and call.name in LAYERS else None
        for leaf in call.outputs:
            key = storage_of(leaf)
            if call.inplace or key not in before:  # and not a view
                self.bytes += 0 if call.inplace else bytes_of(leaf)
                self._fed[key] = fed
                self._made[key] = call.name, made, factor or 1.0
        if self.draws:
            self.largest = max(self.largest, self.bytes - bytes_before)

    def _note_use(self, call: Operation, used: list[Draw]) -> None:
        met = storage_of(call.data[0]) if call.data else 0
        for draw in used:
            draw.target = "weights" if met in self._weights else "input" if met in self._inputs else "activations"
            draw.after, earlier, factor = self._made.get(met, NOTHING)
            twice = earlier is not None and earlier is not draw and earlier.shared == draw.shared
            draw.follows = twice and not (call.name == "aten::where" and len(call.data) > 1)  # which keeps a state, as zoneout
            draw.factors.append(factor)
            draw.met = met if call.name in uses.PRODUCTS else 0
            draw.made = call.outputs[0] if self.hold and call.outputs else None
            draw.data = sketch(call.data[0]) if self.digests and call.data else ()

    def returned(self, out: Any) -> None:
        """Notes what the model returns."""
        predicted = predictions(out)
        for leaf in tree_leaves(out):
            if not isinstance(leaf, Tensor):
                continue
            draw = self._made.get(storage_of(leaf), NOTHING)[1]
            if draw is not None and storage_of(leaf) in predicted:
                draw.at_output = not self._downstream.reaches(draw, predicted)
            noise = self.noise_in(leaf)
            for draw in noise.draws if noise is not None else ():
                draw.use = "restores" if draw.use == "picks" else draw.use
            draw = self._fed.get(storage_of(leaf))
            if draw is not None and leaf.ndim:
                draw.feeds = leaf.shape[-1]

    def _follow(self, call: Operation, parts: list[Noise], seconds: float) -> list[Draw]:
        """Follows noise, and returns the draws that are used here."""
        fresh = []
        if parts:
            noise = together(parts)
            for draw in noise.draws:
                draw.seconds += seconds
            fresh = [draw for draw in noise.draws if not draw.use]
            if not uses.used(call, noise):
                self._mark(call.outputs, noise.after(call, *uses.operand(call)))
                return []
        if parts or (call.data and call.name != "aten::lift_fresh"):  # which makes a tensor of Python's numbers
            self._forget(call.outputs)
            if not parts and all(id(leaf) in call.owned for leaf in call.data):
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

    def _mark(self, outputs: list[Tensor], noise: Noise) -> None:
        for leaf in outputs:
            self._constant.discard(storage_of(leaf))
            self._noise[storage_of(leaf)] = noise
            self._held.append(leaf.untyped_storage())


def redraw(call: Operation, noise: Noise, redrawn: Redrawn) -> Any:
    """Runs an operation again with other random numbers; the generators go on as if it had not."""
    ends = noise.ends
    if redrawn.end and ends is not None and isinstance(call.out, Tensor):
        return call.out.fill_(ends[redrawn.end == "high"])
    if call.name in ADDRESSED:
        names = [argument.name for argument in call.func._schema.arguments]
        args = [value ^ 1 if name == "seed" else value for name, value in zip(names, call.args, strict=False)]
        return call.func(*args, **call.kwargs)
    devices = [leaf.device for leaf in call.outputs if leaf.device.type == "cuda"]
    with fork_rng(devices=devices):
        manual_seed(redrawn.seed)
        return call.func(*call.args, **call.kwargs)


def digest(call: Operation) -> int:
    """Returns a checksum of the numbers that were drawn, or of the address of a mask; the same in each process."""
    if call.name in ADDRESSED:
        key = [call.argument(part) for part in ADDRESS]
        values = [part.flatten().tolist() if isinstance(part, Tensor) else part for part in key]
        return zlib.crc32(repr(values).encode())
    made = call.outputs[-1 if call.name in FUSED else 0]
    storage = getattr(made, "_local_tensor", made).cpu().untyped_storage()  # of a DTensor
    return zlib.crc32(ctypes.string_at(storage.data_ptr(), storage.nbytes()))
