"""The operations that draw: which they are, with what probability, and those that draw and use in one."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from thinnet.models.trace.operation import Operation
from thinnet.ops import NoiseKind, reference, schema


@dataclass
class Drawn:
    """One random draw of one pass, and what became of it.

    Args:
        op: the operation that drew.
        shape: of what it drew.
        chance: the probability of a one, or of True, as far as the operations say it.
        uniform: whether the numbers are still uniform in [0, 1) but for a shift.
        shift: what was added to uniform numbers.
        use: "multiplies", "selects", "fills", "adds", "picks", "decides", or "" while it is unused.
        units: how many coins were tossed.
        dropped: how many of them dropped their unit; None where nothing is dropped.
        scale: what kept units were multiplied by; None where that differs among them.
        factors: the numbers that what it met, or what it made, was multiplied by just before or after.
        p: the nominal rate of dropping, as far as the operations say it.
        shared: the axes of the data along which a coin is shared.
        axes: the number of axes of the data.
        target: what the noise met: "weights", "input" (of the model), or "activations".
        after: the operation that made what the noise met.
        follows: whether that was the use of another draw.
        at_output: whether what the model returns is what its use made.
        feeds: how many outputs the model's last layer has, if it reads what the use made; else 0.
        digest: of the numbers that were drawn, in a pass that keeps it.
    """

    op: str
    shape: tuple[int, ...]
    chance: float | None = None
    uniform: bool = False
    shift: float = 0.0
    use: str = ""
    units: int = 0
    dropped: int | None = None
    scale: float | None = None
    factors: list[float] = field(default_factory=list)
    p: float | None = None
    shared: tuple[int, ...] = ()
    axes: int = 0
    name: str = ""
    line: str | None = None
    seconds: float = 0.0
    bytes: int = 0
    target: str = "activations"
    after: str = ""
    follows: bool = False
    at_output: bool = False
    feeds: int = 0
    digest: int = 0

    @property
    def share(self) -> float | None:
        """The fraction of the units that were dropped; None where nothing is."""
        return None if self.dropped is None or not self.units else self.dropped / self.units

    def total_scale(self) -> float | None:
        """What kept units are multiplied by, with a factor beside the mask where that makes the expectation right."""
        kept = None if self.share is None else 1 - (self.share if self.p is None else self.p)
        if self.scale is None or not kept:
            return self.scale
        best = min(self.factors, key=lambda factor: abs(self.scale * factor * kept - 1), default=1.0)  # type: ignore[operator]
        return self.scale * best if abs(self.scale * best * kept - 1) < abs(self.scale * kept - 1) else self.scale


def drawn_by(call: Operation) -> Drawn | None:
    """Returns what an operation drew; None where it drew nothing."""
    if call.name == "thinnet::apply_noise":
        return _toss(call)
    if torch.Tag.nondeterministic_seeded not in call.func.tags or call.argument("low") == -(1 << 63):
        return None  # the last is the seed of a toss: the toss is what counts
    if "attention" in call.name:
        return _attention(call)
    if call.name in ("aten::native_dropout", "aten::_fused_dropout"):
        return _fused(call)
    if call.name.startswith("aten::rrelu"):
        return None if not call.argument("training") else Drawn(call.name, shape_of(call), use="multiplies")
    return _plain(call)


def _plain(call: Operation) -> Drawn:
    event = Drawn(call.name, shape_of(call))
    short = call.name.removeprefix("aten::")
    if short == "bernoulli":
        chance = call.argument("p", 0.5) if call.inplace else call.argument("self")
        event.chance = float(chance) if isinstance(chance, float) else same_values(chance)
    elif short in ("rand", "rand_like"):
        event.uniform = True
    elif short == "uniform":
        event.uniform = (call.argument("from", 0.0), call.argument("to", 1.0)) == (0.0, 1.0)
    return event


def _attention(call: Operation) -> Drawn | None:
    p = call.argument("dropout_p", 0.0)
    return Drawn(call.name, shape_of(call), use="multiplies", p=float(p)) if p else None


def _fused(call: Operation) -> Drawn | None:
    y, mask = call.out
    p = call.argument("p")
    if call.name == "aten::native_dropout" and call.argument("train") is False:
        return None
    dropped, scale = int((~mask.bool()).sum()), 1 / (1 - p) if p < 1 else 0.0
    return Drawn(
        call.name, shape_of(call), use="multiplies", units=mask.numel(), dropped=dropped, scale=scale, p=float(p), axes=y.ndim
    )


def _toss(call: Operation) -> Drawn:
    x, kind = call.argument("x"), NoiseKind(call.argument("options") & 3)
    rate = int(call.argument("rate"))
    event = Drawn(call.name, tuple(x.shape), p=rate / 65536)
    if id(x) in call.constant:  # of a constant: a mask, or noise for a method that goes on with it
        event.p, event.chance = None, 1 - rate / 65536
        event.uniform = kind == NoiseKind.UNIFORM and rate == 16384  # one half times it
        return event
    event.use, event.axes = "multiplies", x.ndim
    named = call.argument("samples") is not None
    seed, step, site, samples = (call.argument(name) for name in ("seed", "step", "site", "samples"))
    strides, offset = schema.expanded(x, step, samples, call.argument("units"))
    shared = [axis for axis, stride in enumerate(strides) if stride == 0 and not (named and axis == 0)]
    event.shared = tuple(axis for axis in shared if x.shape[axis] > 1)
    ones = torch.ones_like(x)[tuple(slice(0, 1) if axis in event.shared else slice(None) for axis in range(x.ndim))]
    if kind.continuous:
        event.units = ones.numel()
        return event
    rate_given = call.argument("rate")
    kept = reference.apply_noise(ones, rate_given, seed, step, site, samples, strides, offset, NoiseKind.INVERTED, False)
    event.units, event.dropped = ones.numel(), int((kept == 0).sum())
    event.scale = 65536 / (65536 - rate) if kind == NoiseKind.INVERTED and rate < 65536 else None
    return event


def same_values(values: Tensor) -> float | None:
    """Returns the one value of all elements, to rounding; None where they differ or there are none."""
    if values.numel() == 0 or not values.is_floating_point():
        return 1.0 if values.numel() else None
    low, high = float(values.min()), float(values.max())
    return high if high - low <= 1e-2 * abs(high) else None


def shape_of(call: Operation) -> tuple[int, ...]:
    """Returns the shape of the first tensor that came out."""
    return tuple(call.outputs[0].shape) if call.outputs else ()
