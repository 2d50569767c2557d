"""What becomes of random numbers: how they turn into a mask, and what a mask does where it meets data."""

from collections.abc import Callable

from torch import Tensor

from thinnet.models.trace.dispatched import Operation
from thinnet.models.trace.draws import Draw, same_values

COMPARES = {"aten::lt": True, "aten::le": True, "aten::gt": False, "aten::ge": False}  # whether True is below the number
SAME = frozenset(  # operations that keep a mask a mask
    "view reshape _unsafe_view expand unsqueeze squeeze clone _to_copy to div mul add sub detach alias permute transpose t"
    " slice select repeat copy lift_fresh lift_fresh_copy contiguous as_strided".split()
)
PICKS = ("aten::index", "aten::index_select", "aten::gather", "aten::take_along_dim", "aten::index_put", "aten::scatter")


def used(call: Operation, draws: list[Draw]) -> bool:
    """Notes the use of noise that meets data, or that Python reads; returns False where it is noise still."""
    use = _use(call)
    if use is None:
        for draw in draws:
            _become(call, draw)
        return False
    for draw in draws:
        if not draw.use:
            USES[use](call, draw)
            draw.use = use
    return True


def scaled_by(call: Operation) -> float:
    """Returns the number that an operation multiplies its data by; 1 for an operation that does anything else."""
    if call.name not in ("aten::mul", "aten::div") or len(call.data) != 1:
        return 1.0
    numbers = [float(value) for value in call.args[1:2] if isinstance(value, (int, float))]
    small = [leaf for leaf in call.inputs if leaf is not call.data[0] and leaf.numel() == 1]
    numbers += [float(leaf) for leaf in small if not leaf.is_complex()]
    if len(numbers) != 1 or not numbers[0]:
        return 1.0
    return numbers[0] if call.name == "aten::mul" else 1 / numbers[0]


def _use(call: Operation) -> str | None:
    if call.name in ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"):
        return "decides"
    if not call.data or call.name in COMPARES or call.shapes_noise:
        return None
    if call.name in ("aten::mul", "aten::div", "aten::addcmul", "aten::lerp"):
        return "multiplies"
    if call.name in ("aten::masked_fill", "aten::masked_fill_"):
        return "fills"
    if call.name == "aten::where":
        return "selects"
    if call.name in PICKS or call.name.startswith("aten::embedding"):
        return "picks"
    return "multiplies" if call.name in ("aten::bmm", "aten::mm", "aten::matmul", "aten::addmm") else "adds"


def _become(call: Operation, draw: Draw) -> None:
    """Follows uniform numbers through a shift to the comparison, or the rounding, that makes a mask of them."""
    if call.data:  # a rate that is learned, or depends on the data
        draw.chance, draw.uniform = None, False
        return
    number = next((value for value in call.args[1:2] if isinstance(value, (int, float))), None)
    if number is None:
        number = next((float(leaf) for leaf in call.inputs if id(leaf) in call.constant and leaf.numel() == 1), None)
    if call.name in COMPARES and draw.uniform and number is not None:
        below = min(max(number - draw.shift, 0.0), 1.0)
        draw.chance, draw.uniform = (below if COMPARES[call.name] else 1 - below), False
    elif call.name == "aten::floor" and draw.uniform and 0 < draw.shift <= 1:
        draw.chance, draw.uniform = draw.shift, False
    elif call.name == "aten::add" and draw.uniform and number is not None:
        draw.shift += number
    elif call.name in ("aten::logical_not", "aten::bitwise_not", "aten::rsub") and draw.chance is not None:
        draw.chance = 1 - draw.chance
    elif call.name.removeprefix("aten::") not in SAME:
        draw.chance, draw.uniform = None, False


def _multiplies(call: Operation, draw: Draw) -> None:
    noise, data = call.noise[0], call.data[0]
    _shared_axes(draw, noise, data)
    kept = noise[noise != 0] if call.name != "aten::div" else noise
    draw.units, draw.dropped = noise.numel(), noise.numel() - kept.numel()
    draw.scale = same_values(kept)
    if draw.scale is None and kept.numel():
        draw.dropped = draw.dropped or None  # the numbers differ: noise, and no mask
    draw.p = None if draw.chance is None else 1 - draw.chance


def _fills(call: Operation, draw: Draw) -> None:
    mask = call.argument("mask")
    _shared_axes(draw, mask, call.data[0])
    draw.units, draw.dropped, draw.p = mask.numel(), int(mask.sum()), draw.chance


def _selects(call: Operation, draw: Draw) -> None:
    condition, kept, other = call.argument("condition"), call.argument("self"), call.argument("other")
    if id(condition) not in call.noisy:
        return
    data = {id(leaf) for leaf in call.data}
    drops_true = id(kept) not in data and id(other) in data
    _shared_axes(draw, condition, call.outputs[0])
    draw.units, ones = condition.numel(), int(condition.sum())
    draw.dropped = ones if drops_true else condition.numel() - ones
    draw.p = draw.chance if drops_true or draw.chance is None else 1 - draw.chance


def _picks(call: Operation, draw: Draw) -> None:
    before, after = call.data[0], call.outputs[0]
    changed = [axis for axis in range(min(before.ndim, after.ndim)) if before.shape[axis] != after.shape[axis]]
    axis = changed[0] if changed else 0
    draw.axes, draw.shared = before.ndim, tuple(other for other in range(before.ndim) if other != axis)
    if before.ndim and after.ndim:
        draw.units, draw.dropped = before.shape[axis], max(0, before.shape[axis] - after.shape[axis])
    draw.p = None if draw.chance is None else 1 - draw.chance


def _adds(call: Operation, draw: Draw) -> None:
    draw.axes, draw.dropped, draw.p = call.outputs[0].ndim if call.outputs else 0, None, None
    noise = call.noise[0]
    if noise.is_floating_point() and bool((noise.isinf() | (noise < -1e4)).any()):  # added to logits before a softmax
        gone = noise.isinf() | (noise < -1e4)
        _shared_axes(draw, noise, call.outputs[0])
        draw.units, draw.dropped = gone.numel(), int(gone.sum())


def _decides(call: Operation, draw: Draw) -> None:
    draw.units, draw.p = 1, None if draw.chance is None else min(draw.chance, 1 - draw.chance)


USES: dict[str, Callable[[Operation, Draw], None]] = {
    "multiplies": _multiplies,
    "fills": _fills,
    "selects": _selects,
    "picks": _picks,
    "adds": _adds,
    "decides": _decides,
}


def _shared_axes(draw: Draw, noise: Tensor, data: Tensor) -> None:
    """Notes along which axes of the data one number is shared."""
    draw.axes = data.ndim
    shape = [1] * (data.ndim - noise.ndim) + list(noise.shape)
    draw.shared = tuple(axis for axis, size in enumerate(data.shape) if shape[axis] == 1 and size > 1)
