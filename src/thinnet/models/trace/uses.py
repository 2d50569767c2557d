"""What noise does where it meets data, or where Python reads it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from thinnet.models.trace.dispatched import Operation
from thinnet.models.trace.draws import same_values, with_ones
from thinnet.models.trace.noise import COMPARES, PICKS, Noise
from thinnet.models.trace.record import Draw

READS = ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal")
PRODUCTS = ("aten::mul", "aten::div", "aten::addcmul", "aten::lerp")
CENTRED = 0.3  # the mean of noise around zero is at most so many of its standard deviations
MASKS = ("multiplies", "selects", "fills")
ZERO = 1e-6  # below that a number of a mask is zero
MATRIX_PRODUCTS = ("aten::bmm", "aten::mm", "aten::matmul", "aten::addmm", "aten::baddbmm")


def used(call: Operation, noise: Noise) -> bool:
    """Notes the use of noise that meets data, or that Python reads; returns False where it is noise still."""
    use = _use(call, noise)
    if use is None:
        return False
    for draw in noise.draws:
        if not draw.use:
            NOTES.get(use, _adds)(call, draw, noise)
            draw.use = "restores" if _replaces(call, noise) else use
        elif _puts_back(call, noise) if draw.use == "picks" else draw.use in MASKS and _marks(draw, use, noise):
            draw.use = "restores"
    return True


def _replaces(call: Operation, noise: Noise) -> bool:
    """Returns whether a mask says where a learned token stands, or is a permutation's: so do masked autoencoders."""
    if call.name == "aten::where":
        ends = call.argument("self"), call.argument("other")
        return sum(isinstance(end, Tensor) and id(end) in call.owned and end.numel() > 1 for end in ends) == 1
    return noise.restores and call.name == "aten::masked_fill"


def _puts_back(call: Operation, noise: Noise) -> bool:
    """Returns whether places that were picked are written to, or a permutation is inverted."""
    return noise.restores or call.name in ("aten::index_put", "aten::scatter")


def _marks(draw: Draw, use: str, noise: Noise) -> bool:
    """Returns whether a mask that was applied also places a learned token, or picks what the loss reads."""
    return draw.target != "weights" and (use == "picks" or (use == "adds" and noise.learned))


def operand(call: Operation) -> tuple[float | None, bool]:
    """Returns the number that an operation combines noise with, and whether it stands before the noise.

    It is an argument, or a tensor of one element that is no data: a constant, a parameter or a buffer.
    """
    if len(call.args) < 2 or isinstance(call.args[1], (int, float)):
        return (call.args[1] if len(call.args) > 1 else None), False
    if len(call.inputs) != 2 or len(call.noise) != 1:
        return None, False
    before = id(call.inputs[1]) in call.noisy
    other = call.inputs[0 if before else 1]
    known = other.numel() == 1 and not other.is_complex() and id(other) in call.constant | call.owned
    return (float(other.detach()) if known else None), before


def scaled_by(call: Operation) -> float | None:
    """Returns the number that an operation multiplies its data by; None for an operation that does anything else."""
    if call.name not in ("aten::mul", "aten::div"):
        return None
    data = [leaf for leaf in call.data if leaf.numel() > 1 or id(leaf) not in call.owned]
    if len(data) != 1:
        return None
    numbers = [float(value) for value in call.args[1:2] if isinstance(value, (int, float))]
    small = [leaf.detach() for leaf in call.inputs if leaf is not data[0] and leaf.numel() == 1]
    numbers += [float(leaf) for leaf in small if not leaf.is_complex()]
    if len(numbers) != 1 or not numbers[0]:
        return None
    return numbers[0] if call.name == "aten::mul" else 1 / numbers[0]


def _use(call: Operation, noise: Noise) -> str | None:
    short = call.name.removeprefix("aten::")
    if call.name in READS:
        return read_as(noise)
    if not call.data and noise.chance is not None and call.name in PRODUCTS and _met(call) is not None:
        return "multiplies"  # a mask meets a constant that is more than a number, such as position codes
    if not call.data or short in COMPARES or call.shapes_noise:
        return None
    if short in PICKS and id(call.args[0]) in call.noisy:
        return None  # data says which of the numbers: noise still
    if call.name in PRODUCTS:
        return "samples" if _is_centred(noise, call.noise[0]) else "multiplies"
    if call.name == "aten::masked_fill" or (call.name == "aten::index_put" and _mask_of(call) is not None):
        return "fills"
    if call.name == "aten::where":
        return "selects"
    if short in PICKS or call.name.startswith("aten::embedding"):
        if all(id(leaf) in call.owned for leaf in call.data):
            return "chooses"  # a row of a table
        everything = call.outputs[0].shape == call.data[0].shape and call.name not in ("aten::index_put", "aten::scatter")
        return "restores" if noise.restores else "chooses" if everything else "picks"  # all of them in another order
    if call.name in MATRIX_PRODUCTS and any(id(leaf) in call.noisy for leaf in call.inputs[-2:]):
        weighs = all(id(leaf) in call.owned for leaf in call.data)
        return "adds" if weighs else "projects" if noise.chance is None else "multiplies"
    return "adds"


def _met(call: Operation) -> Tensor | None:
    """Returns the tensor that noise meets: data, or a constant with different numbers."""
    others = call.data or [leaf for leaf in call.inputs if id(leaf) not in call.noisy and same_values(leaf) is None]
    return others[0] if others else None


def _is_centred(noise: Noise, numbers: Tensor) -> bool:
    """Returns whether the mean of noise is zero: by what made it, or else by its numbers."""
    if noise.mean is not None or noise.chance is not None or not numbers.is_floating_point() or numbers.numel() < 2:
        return noise.mean == 0
    return bool((numbers < 0).any()) and float(numbers.mean().abs()) < CENTRED * float(numbers.std())


def read_as(noise: Noise) -> str:
    """Returns the use of noise that Python reads: a decision, or the choice of a number."""
    whole = any(draw.op in ("aten::randint", "aten::randperm", "aten::multinomial") for draw in noise.draws)
    return "chooses" if whole and noise.chance is None else "decides"


def _mask_of(call: Operation) -> Tensor | None:
    """Returns the drawn mask that says where an operation writes."""
    if call.name == "aten::masked_fill":
        return call.argument("mask")
    places = call.argument("indices") or ()
    return next((leaf for leaf in places if leaf is not None and leaf.dtype == torch.bool and id(leaf) in call.noisy), None)


def _multiplies(call: Operation, draw: Draw, noise: Noise) -> None:
    met = _met(call)
    numbers = _distinct(draw, call.noise[0], call.outputs[0] if met is None else met, noise)
    draw.units = numbers.numel()
    zeros = 0 if call.name == "aten::div" else draw.units - int(numbers.count_nonzero())
    draw.scale = _kept_value(numbers, noise, zeros) if zeros < draw.units else None
    differ = draw.scale is None and zeros < draw.units  # noise, and no mask
    is_number = numbers.numel() == 1 and noise.chance is None
    draw.dropped = None if (differ or is_number) and not zeros else zeros
    draw.mean = float(numbers.double().mean()) if differ and not numbers.is_complex() else None
    draw.p = _rate(noise)
    _count_once(draw)


def _kept_value(numbers: Tensor, noise: Noise, zeros: int) -> float | None:
    """Returns the one value of the numbers that are not zero; None where they differ."""
    if noise.chance is not None:
        values = [value for value in (noise.shift, noise.slope + noise.shift) if abs(value) > ZERO]
        return values[0] if len(values) == 1 else None
    return same_values(torch.where(numbers == 0, numbers.max(), numbers) if zeros else numbers)


def _rate(noise: Noise) -> float | None:
    """Returns the probability that the numbers of a mask are zero."""
    if noise.chance is None or abs(noise.shift) > ZERO < abs(noise.slope + noise.shift):
        return None
    return 1 - noise.chance if abs(noise.shift) <= ZERO else noise.chance


def _opposite(rate: float | None) -> float | None:
    return None if rate is None else 1 - rate


def _fills(call: Operation, draw: Draw, noise: Noise) -> None:
    mask = _mask_of(call)
    if mask is None or id(mask) not in call.noisy:
        return _adds(call, draw, noise)
    numbers = _distinct(draw, mask, call.data[0], noise)
    draw.units, draw.dropped, draw.p = numbers.numel(), int(numbers.count_nonzero()), _opposite(_rate(noise))
    _count_once(draw)


def _selects(call: Operation, draw: Draw, noise: Noise) -> None:
    condition, kept, other = call.argument("condition"), call.argument("self"), call.argument("other")
    if id(condition) not in call.noisy:
        return
    data = {id(leaf) for leaf in call.data}
    numbers = _distinct(draw, condition, call.outputs[0], noise)
    draw.units, ones = numbers.numel(), int(numbers.count_nonzero())
    drops_true = id(kept) not in data
    if id(kept) in data and id(other) in data:  # a parameter replaces what it is not; else the rarer one replaces the other
        owned = id(kept) in call.owned, id(other) in call.owned
        drops_true = owned[0] if owned[0] != owned[1] else (ones / draw.units if noise.chance is None else noise.chance) < 0.5
    draw.dropped = ones if drops_true else draw.units - ones
    draw.p = _opposite(_rate(noise)) if drops_true else _rate(noise)
    _count_once(draw)


def _picks(call: Operation, draw: Draw, noise: Noise) -> None:
    before, after = call.data[0], call.outputs[0]
    changed = [axis for axis in range(min(before.ndim, after.ndim)) if before.shape[axis] != after.shape[axis]]
    axis = changed[0] if changed else 0
    draw.axes, draw.shared = before.ndim, tuple(other for other in range(before.ndim) if other != axis)
    if before.ndim and after.ndim and call.name != "aten::index_put":
        draw.units, draw.dropped = before.shape[axis], max(0, before.shape[axis] - after.shape[axis])
    draw.p = None if noise.chance is None else 1 - noise.chance


def _adds(call: Operation, draw: Draw, noise: Noise) -> None:
    draw.axes, draw.dropped, draw.p = call.outputs[0].ndim if call.outputs else 0, None, None
    added = call.noise[0]
    if added.is_floating_point() and bool((added < -1e4).any()):  # added to logits before a softmax
        gone = _distinct(draw, added, call.outputs[0], noise) < -1e4
        draw.units, draw.dropped = gone.numel(), int(gone.count_nonzero())
        _count_once(draw)


def decides(draw: Draw, noise: Noise) -> None:
    """Notes the rate of a decision that Python makes."""
    draw.units, draw.p = 1, None if noise.chance is None else min(noise.chance, 1 - noise.chance)


NOTES: dict[str, Callable[[Operation, Draw, Noise], None]] = {
    "multiplies": _multiplies,
    "fills": _fills,
    "selects": _selects,
    "picks": _picks,
    "restores": _picks,
    "decides": lambda call, draw, noise: decides(draw, noise),
}


def _distinct(draw: Draw, numbers: Tensor, data: Tensor, noise: Noise) -> Tensor:
    """Notes along which axes of the data one number is shared, and returns the numbers once along these."""
    draw.axes = data.ndim
    shape = [1] * (data.ndim - numbers.ndim) + list(numbers.shape)
    shared = {axis for axis, size in enumerate(data.shape) if shape[axis] == 1 and size > 1}
    missing = data.ndim - numbers.ndim
    if numbers.layout != torch.strided:
        return numbers
    for axis in range(numbers.ndim):
        if numbers.stride(axis) == 0 and numbers.shape[axis] > 1:
            shared.add(axis + missing)
            numbers = numbers.narrow(axis, 0, 1)
    drawn = sum(math.prod(each.shape) for each in noise.draws)
    for axis in range(numbers.ndim):  # copies that an operation made, as `repeat` does
        size = numbers.shape[axis]
        if size > 1 and drawn and numbers.numel() >= drawn * size:
            first = numbers.narrow(axis, 0, 1)
            if numbers.equal(first.expand_as(numbers)):
                shared.add(axis + missing)
                numbers = first
    draw.shared = with_ones(shared, data.shape)
    return numbers


def _count_once(draw: Draw) -> None:
    """Counts each drawn number once, where copies of it are left."""
    drawn = math.prod(draw.shape)
    copies = draw.units // drawn if drawn else 1
    if copies > 1 and draw.dropped is not None:
        draw.units, draw.dropped = draw.units // copies, draw.dropped // copies
