"""Random draws: which operations draw, with what probability, and which draw and use in one."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from thinnet.models.trace.dispatched import RATES, Operation
from thinnet.models.trace.noise import Noise
from thinnet.models.trace.record import Draw
from thinnet.ops import NoiseKind
from thinnet.ops.arguments import expanded
from thinnet.ops.attention.reference import kept_weights
from thinnet.ops.attention.settings import RENORMALISED, Settings

CENTRED = ("randn", "randn_like", "normal_functional")


def drawn_by(call: Operation) -> tuple[Draw, Noise] | None:
    """Returns what an operation drew, and the distribution of that; None where it drew nothing."""
    if call.name == "thinnet::apply_noise":
        return _apply_noise(call)
    if call.name == "thinnet::attention":
        return _attention(call)
    if not call.seeded:
        return _kernel(call) if call.rated else None
    if call.argument("low") == -(1 << 63):
        return None  # the seed of `apply_noise`, which is the draw that counts
    if "attention" in call.name:
        return _kernel(call)
    if call.name in ("aten::native_dropout", "aten::_fused_dropout"):
        return _fused(call)
    draw = Draw(call.name, shape_of(call))
    if call.name.startswith("aten::rrelu"):
        draw.use = "multiplies"
        return (draw, Noise((draw,))) if call.argument("training") else None
    return draw, _plain(call, draw)


def _plain(call: Operation, draw: Draw) -> Noise:
    short = call.name.removeprefix("aten::")
    if short == "bernoulli":
        chance = call.argument("p")
        if chance is None:
            chance = 0.5 if call.inplace else call.argument("self")
        return Noise((draw,), chance=float(chance) if isinstance(chance, (int, float)) else same_values(chance))
    if short in ("rand", "rand_like"):
        return Noise((draw,), uniform=True)
    if short == "uniform":
        low, high = call.argument("from", 0.0), call.argument("to", 1.0)
        return Noise((draw,), uniform=True, slope=high - low, shift=low)
    if short in CENTRED:
        return Noise((draw,), centre=0.0)
    if short == "normal":
        if call.data and not call.inplace:
            draw.use = "samples"
        mean = call.argument("mean", 0.0)
        return Noise((draw,), centre=float(mean) if isinstance(mean, (int, float)) else same_values(mean))
    return Noise((draw,))


def _kernel(call: Operation) -> tuple[Draw, Noise] | None:
    """Returns the draw of a kernel, mostly of attention, that takes a rate and does not return its mask."""
    p = next((value for name in RATES if isinstance(value := call.argument(name), (int, float))), 0.0)
    if not p:
        return None
    draw = Draw(call.name, shape_of(call), use="multiplies", p=float(p))
    return draw, Noise((draw,))


def _fused(call: Operation) -> tuple[Draw, Noise] | None:
    y, mask = call.out
    p = call.argument("p")
    if call.name == "aten::native_dropout" and call.argument("train") is False:
        return None
    dropped, scale = mask.numel() - int(mask.count_nonzero()), 1 / (1 - p) if p < 1 else 0.0
    draw = Draw(
        call.name, shape_of(call), use="multiplies", units=mask.numel(), dropped=dropped, scale=scale, p=float(p), axes=y.ndim
    )
    return draw, Noise((draw,))


def _apply_noise(call: Operation) -> tuple[Draw, Noise]:
    x, kind = call.argument("x"), NoiseKind(call.argument("options") & 3)
    rate = int(call.argument("rate"))
    draw = Draw(call.name, tuple(x.shape), p=rate / 65536)
    number = same_values(x) if id(x) in call.constant else None
    if number is not None:  # a mask, or noise for a method that goes on with it
        draw.p = None
        if kind == NoiseKind.UNIFORM and rate == 16384:  # one half times it
            return draw, Noise((draw,), uniform=True)
        if kind == NoiseKind.INVERTED and rate < 65536:
            return draw, Noise((draw,), chance=1 - rate / 65536, slope=number * 65536 / (65536 - rate))
        return draw, Noise((draw,), centre=number)
    draw.use, draw.axes = "multiplies", x.ndim
    step, samples = call.argument("step"), call.argument("samples")
    strides, _ = expanded(x, step, samples, call.argument("units"))
    shared = [axis for axis, stride in enumerate(strides) if stride == 0 and not (samples is not None and axis == 0)]
    draw.shared = with_ones({axis for axis in shared if x.shape[axis] > 1}, x.shape)
    copies = math.prod(x.shape[axis] for axis in draw.shared)
    draw.units = x.numel() // copies
    if kind.continuous:
        return draw, Noise((draw,))
    rest = [call.argument(name) for name in ("rate", "seed", "step", "site", "samples", "units")]
    kept = torch.ops.thinnet.apply_noise(torch.ones_like(x), *rest, call.argument("options") & ~3)
    draw.dropped = (x.numel() - int(kept.count_nonzero())) // copies
    draw.scale = 65536 / (65536 - rate) if kind == NoiseKind.INVERTED and rate < 65536 else None
    return draw, Noise((draw,))


def _attention(call: Operation) -> tuple[Draw, Noise] | None:
    """Returns the draw of fused attention: one decision for each of its weights."""
    rate = int(call.argument("rate"))
    if rate == 0:
        return None
    q, k = call.argument("q"), call.argument("k")
    shape = q.shape[0], q.shape[1], q.shape[2], k.shape[2]
    kept = kept_weights(Settings(*call.args[3:]), *shape, q.device)
    draw = Draw(call.name, shape, use="multiplies", p=rate / 65536, units=kept.numel(), axes=4)
    draw.dropped = draw.units - int(kept.count_nonzero())
    renormalised = call.argument("options") & RENORMALISED
    draw.scale = None if renormalised or rate == 65536 else 65536 / (65536 - rate)
    return draw, Noise((draw,))


def same_values(values: Tensor) -> float | None:
    """Returns the one value of all elements, to rounding; None where they differ or there are none."""
    if values.numel() == 0 or not values.is_floating_point():
        return 1.0 if values.numel() else None
    low, high = (float(end) for end in values.aminmax())
    return high if high - low <= 1e-2 * abs(high) else None


def shape_of(call: Operation) -> tuple[int, ...]:
    """Returns the shape of the first tensor that an operation returned."""
    return tuple(call.outputs[0].shape) if call.outputs else ()


def with_ones(shared: set[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Returns shared axes and, beside these, the axes of one element, along which nothing tells. Axis 0 counts samples."""
    return tuple(axis for axis, size in enumerate(shape) if axis in shared or (shared and axis and size == 1))
