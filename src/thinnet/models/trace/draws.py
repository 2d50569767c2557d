"""Random draws: which operations draw, with what probability, and which draw and use in one."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from thinnet.models.trace.dispatched import Operation
from thinnet.ops import NoiseKind, reference
from thinnet.ops.arguments import expanded


@dataclass
class Draw:
    """One random draw of a pass, and how it is used.

    Args:
        op: the operation that drew.
        shape: of what it drew.
        chance: the probability of a one, or of True, where the operations state it.
        uniform: whether the numbers are uniform in [0, 1), up to `shift`.
        shift: what was added to uniform numbers.
        use: "multiplies", "selects", "fills", "adds", "picks", "decides", or "" while it is unused.
        units: how many units it decides about.
        dropped: how many of them are dropped; None where nothing can be.
        scale: the factor of kept units; None where it differs among them.
        factors: the numbers that the same data was multiplied by just before or after.
        p: the nominal drop rate, where the operations state it.
        shared: the axes of the data along which one number is shared.
        axes: the number of axes of the data.
        name: the path of the module that drew.
        line: `file:line` of the calling code.
        seconds, bytes: what it took.
        target: what the noise meets: "weights", "input" (of the model), or "activations".
        after: the operation that made what the noise meets.
        follows: whether that was the use of another draw.
        at_output: whether the model returns what its use made.
        feeds: how many outputs the model's last layer has, if that layer reads what the use made; else 0.
        digest: a checksum of the numbers, where the trace asks for it.
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
    def site(self) -> tuple[str, str | None]:
        """The path of the module and the calling line: two draws with the same ones are of the same site."""
        return self.name, self.line

    @property
    def kind(self) -> str:
        """What kind of randomness it is, by its use.

        >>> Draw("bernoulli", (4,), use="multiplies", units=4, dropped=1).kind
        'dropout'
        """
        if self.use == "adds" and self.dropped is not None:
            return "dropped keys"
        if self.use in ("multiplies", "selects", "fills"):
            return "dropout" if self.dropped is not None else "multiplicative noise"
        return {"adds": "additive noise", "picks": "subset", "decides": "decision"}.get(self.use, "no use")

    @property
    def share(self) -> float | None:
        """The fraction of the units that was dropped; None where nothing can be."""
        return None if self.dropped is None or not self.units else self.dropped / self.units

    def total_scale(self) -> float | None:
        """Returns the factor of kept units, with a factor beside the mask where that makes the expectation right."""
        kept = None if self.share is None else 1 - (self.share if self.p is None else self.p)
        if self.scale is None or not kept:
            return self.scale
        best = min(self.factors, key=lambda factor: abs(self.scale * factor * kept - 1), default=1.0)  # type: ignore[operator]
        return self.scale * best if abs(self.scale * best * kept - 1) < abs(self.scale * kept - 1) else self.scale


def drawn_by(call: Operation) -> Draw | None:
    """Returns what an operation drew; None where it drew nothing."""
    if call.name == "thinnet::apply_noise":
        return _apply_noise(call)
    if not call.seeded or call.argument("low") == -(1 << 63):
        return None  # the second is the seed of `apply_noise`, which is the draw that counts
    if "attention" in call.name:
        return _attention(call)
    if call.name in ("aten::native_dropout", "aten::_fused_dropout"):
        return _fused(call)
    if call.name.startswith("aten::rrelu"):
        return None if not call.argument("training") else Draw(call.name, shape_of(call), use="multiplies")
    return _plain(call)


def _plain(call: Operation) -> Draw:
    draw = Draw(call.name, shape_of(call))
    short = call.name.removeprefix("aten::")
    if short == "bernoulli":
        chance = call.argument("p", 0.5) if call.inplace else call.argument("self")
        draw.chance = float(chance) if isinstance(chance, float) else same_values(chance)
    elif short in ("rand", "rand_like"):
        draw.uniform = True
    elif short == "uniform":
        draw.uniform = (call.argument("from", 0.0), call.argument("to", 1.0)) == (0.0, 1.0)
    return draw


def _attention(call: Operation) -> Draw | None:
    p = call.argument("dropout_p", 0.0)
    return Draw(call.name, shape_of(call), use="multiplies", p=float(p)) if p else None


def _fused(call: Operation) -> Draw | None:
    y, mask = call.out
    p = call.argument("p")
    if call.name == "aten::native_dropout" and call.argument("train") is False:
        return None
    dropped, scale = int((~mask.bool()).sum()), 1 / (1 - p) if p < 1 else 0.0
    return Draw(
        call.name, shape_of(call), use="multiplies", units=mask.numel(), dropped=dropped, scale=scale, p=float(p), axes=y.ndim
    )


def _apply_noise(call: Operation) -> Draw:
    x, kind = call.argument("x"), NoiseKind(call.argument("options") & 3)
    rate = int(call.argument("rate"))
    draw = Draw(call.name, tuple(x.shape), p=rate / 65536)
    if id(x) in call.constant:  # noise on a constant: a mask, or noise for a method that goes on with it
        draw.p, draw.chance = None, 1 - rate / 65536
        draw.uniform = kind == NoiseKind.UNIFORM and rate == 16384  # one half times it
        return draw
    draw.use, draw.axes = "multiplies", x.ndim
    addressed = call.argument("samples") is not None
    seed, step, site, samples = (call.argument(name) for name in ("seed", "step", "site", "samples"))
    strides, offset = expanded(x, step, samples, call.argument("units"))
    shared = [axis for axis, stride in enumerate(strides) if stride == 0 and not (addressed and axis == 0)]
    draw.shared = tuple(axis for axis in shared if x.shape[axis] > 1)
    ones = torch.ones_like(x)[tuple(slice(0, 1) if axis in draw.shared else slice(None) for axis in range(x.ndim))]
    if kind.continuous:
        draw.units = ones.numel()
        return draw
    rate_given = call.argument("rate")
    kept = reference.apply_noise(ones, rate_given, seed, step, site, samples, strides, offset, NoiseKind.INVERTED, False)
    draw.units, draw.dropped = ones.numel(), int((kept == 0).sum())
    draw.scale = 65536 / (65536 - rate) if kind == NoiseKind.INVERTED and rate < 65536 else None
    return draw


def same_values(values: Tensor) -> float | None:
    """Returns the one value of all elements, to rounding; None where they differ or there are none."""
    if values.numel() == 0 or not values.is_floating_point():
        return 1.0 if values.numel() else None
    low, high = float(values.min()), float(values.max())
    return high if high - low <= 1e-2 * abs(high) else None


def shape_of(call: Operation) -> tuple[int, ...]:
    """Returns the shape of the first tensor that an operation returned."""
    return tuple(call.outputs[0].shape) if call.outputs else ()
