"""What becomes of noise: how numbers turn into coins, and what coins do where they meet data."""

from collections.abc import Callable

from torch import Tensor

from thinnet.models.trace.draws import Drawn, same_values
from thinnet.models.trace.operation import Operation

COMPARES = {"aten::lt": True, "aten::le": True, "aten::gt": False, "aten::ge": False}  # whether True is below the number
SAME = frozenset(  # operations after which coins are the coins that they were
    "view reshape _unsafe_view expand unsqueeze squeeze clone _to_copy to div mul add sub detach alias permute transpose t"
    " slice select repeat copy lift_fresh lift_fresh_copy contiguous as_strided".split()
)
PICKS = ("aten::index", "aten::index_select", "aten::gather", "aten::take_along_dim", "aten::index_put", "aten::scatter")


def used(call: Operation, events: list[Drawn]) -> bool:
    """Notes what noise does where it meets data, or decides what Python does next; returns False where it is noise still."""
    use = _use(call)
    if use is None:
        for event in events:
            _become(call, event)
        return False
    for event in events:
        if not event.use:
            USES[use](call, event)
            event.use = use
    return True


def scaled_by(call: Operation) -> float:
    """Returns the number that an operation multiplies data by, and nothing else; 1 for any other operation."""
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


def _become(call: Operation, event: Drawn) -> None:
    """Follows uniform numbers through a shift to the comparison, or the rounding, that makes coins of them."""
    if call.data:  # a rate that is learned, or follows the data
        event.chance, event.uniform = None, False
        return
    number = next((value for value in call.args[1:2] if isinstance(value, (int, float))), None)
    if number is None:
        number = next((float(leaf) for leaf in call.inputs if id(leaf) in call.constant and leaf.numel() == 1), None)
    if call.name in COMPARES and event.uniform and number is not None:
        below = min(max(number - event.shift, 0.0), 1.0)
        event.chance, event.uniform = (below if COMPARES[call.name] else 1 - below), False
    elif call.name == "aten::floor" and event.uniform and 0 < event.shift <= 1:
        event.chance, event.uniform = event.shift, False
    elif call.name == "aten::add" and event.uniform and number is not None:
        event.shift += number
    elif call.name in ("aten::logical_not", "aten::bitwise_not", "aten::rsub") and event.chance is not None:
        event.chance = 1 - event.chance
    elif call.name.removeprefix("aten::") not in SAME:
        event.chance, event.uniform = None, False


def _multiplies(call: Operation, event: Drawn) -> None:
    noise, data = call.noise[0], call.data[0]
    _grain(event, noise, data)
    kept = noise[noise != 0] if call.name != "aten::div" else noise
    event.units, event.dropped = noise.numel(), noise.numel() - kept.numel()
    event.scale = same_values(kept)
    if event.scale is None and kept.numel():
        event.dropped = event.dropped or None  # no two alike: noise, and not a mask
    event.p = None if event.chance is None else 1 - event.chance


def _fills(call: Operation, event: Drawn) -> None:
    mask = call.argument("mask")
    _grain(event, mask, call.data[0])
    event.units, event.dropped, event.p = mask.numel(), int(mask.sum()), event.chance


def _selects(call: Operation, event: Drawn) -> None:
    condition, kept, other = call.argument("condition"), call.argument("self"), call.argument("other")
    if id(condition) not in call.noisy:
        return
    data = {id(leaf) for leaf in call.data}
    drops_true = id(kept) not in data and id(other) in data
    _grain(event, condition, call.outputs[0])
    event.units, ones = condition.numel(), int(condition.sum())
    event.dropped = ones if drops_true else condition.numel() - ones
    event.p = event.chance if drops_true or event.chance is None else 1 - event.chance


def _picks(call: Operation, event: Drawn) -> None:
    before, after = call.data[0], call.outputs[0]
    changed = [axis for axis in range(min(before.ndim, after.ndim)) if before.shape[axis] != after.shape[axis]]
    axis = changed[0] if changed else 0
    event.axes, event.shared = before.ndim, tuple(other for other in range(before.ndim) if other != axis)
    if before.ndim and after.ndim:
        event.units, event.dropped = before.shape[axis], max(0, before.shape[axis] - after.shape[axis])
    event.p = None if event.chance is None else 1 - event.chance


def _adds(call: Operation, event: Drawn) -> None:
    event.axes, event.dropped, event.p = call.outputs[0].ndim if call.outputs else 0, None, None
    noise = call.noise[0]
    if noise.is_floating_point() and bool((noise.isinf() | (noise < -1e4)).any()):  # added to logits before a softmax
        gone = noise.isinf() | (noise < -1e4)
        _grain(event, noise, call.outputs[0])
        event.units, event.dropped = gone.numel(), int(gone.sum())


def _decides(call: Operation, event: Drawn) -> None:
    event.units, event.p = 1, None if event.chance is None else min(event.chance, 1 - event.chance)


USES: dict[str, Callable[[Operation, Drawn], None]] = {
    "multiplies": _multiplies,
    "fills": _fills,
    "selects": _selects,
    "picks": _picks,
    "adds": _adds,
    "decides": _decides,
}


def _grain(event: Drawn, noise: Tensor, data: Tensor) -> None:
    """Notes along which axes of the data a coin is shared."""
    event.axes = data.ndim
    shape = [1] * (data.ndim - noise.ndim) + list(noise.shape)
    event.shared = tuple(axis for axis, size in enumerate(data.shape) if shape[axis] == 1 and size > 1)


def kind_of(event: Drawn) -> str:
    """Returns what kind of randomness a draw is, by what it did.

    >>> kind_of(Drawn("bernoulli", (4,), use="multiplies", units=4, dropped=1))
    'dropout'
    """
    if event.use == "adds" and event.dropped is not None:
        return "dropped keys"
    if event.use in ("multiplies", "selects", "fills"):
        return "dropout" if event.dropped is not None else "multiplicative noise"
    return {"adds": "additive noise", "picks": "subset", "decides": "decision"}.get(event.use, "no use")
