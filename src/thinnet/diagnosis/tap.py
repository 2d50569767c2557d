"""Reads hidden activations while a model runs, and sets units to zero: in front of a module, behind it, or at a call."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

CALLED = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout)


@dataclass(frozen=True)
class Place:
    """Where activations are read.

    Args:
        name: the path of a module.
        side: "in", what the module reads; "out", what it returns; "call", what its `number`-th call of a dropout function
            reads.
        words: what that is, for the reader.
        number: of the call, from 0.
        axis: which axis counts the units.
        width: how many units there are.
    """

    name: str
    side: str
    words: str
    number: int = 0
    axis: int = 1
    width: int = 0


class Tap(TorchFunctionMode):
    """A context in which a model's activations are met at places, at the first use of each in a forward pass.

    Args:
        model: what runs.
        places: where.
        meet: takes place and activations; what it returns, if it is a tensor, takes their place.
    """

    def __init__(self, model: nn.Module, places: Sequence[Place], meet: Callable[[Place, Tensor], Tensor | None]) -> None:
        super().__init__()
        self.model, self.meet = model, meet
        self.places = {(place.name, place.side, place.number): place for place in places}
        self.used: Counter[tuple[str, str]] = Counter()
        self.inside: list[str] = []
        self.handles: list[Any] = []

    def __enter__(self) -> "Tap":
        calls = any(side == "call" for _, side, _ in self.places)
        for name, module in self.model.named_modules():
            if calls or name == "" or {(name, "in", 0), (name, "out", 0)} & self.places.keys():
                self.handles.append(module.register_forward_pre_hook(self._before(name)))
                self.handles.append(module.register_forward_hook(self._behind(name)))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        for handle in self.handles:
            handle.remove()
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Meets what a call of a dropout function reads."""
        kwargs = kwargs or {}
        if func in CALLED and self.inside:
            x = args[0] if args else kwargs["input"]
            met = self._meet(self.inside[-1], "call", x)
            args, kwargs = (met, *args[1:]), {name: value for name, value in kwargs.items() if name != "input"}
        return func(*args, **kwargs)

    def _before(self, name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if name == "":
                self.used.clear()
                self.inside.clear()
            self.inside.append(name)
            if args and isinstance(args[0], Tensor) and (name, "in", 0) in self.places:
                return (self._meet(name, "in", args[0]), *args[1:])
            return None

        return hook

    def _behind(self, name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, out: Any) -> Any:
            self.inside.pop()
            if (name, "out", 0) not in self.places:
                return None
            leaves, spec = tree_flatten(out)
            first = next((i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)), None)
            if first is None:
                return None
            leaves[first] = self._meet(name, "out", leaves[first])
            return tree_unflatten(leaves, spec)

        return hook

    def _meet(self, name: str, side: str, x: Tensor) -> Tensor:
        number = self.used[name, side]
        self.used[name, side] += 1
        place = self.places.get((name, side, number))
        met = None if place is None else self.meet(place, x)
        return x if met is None else met


def multiplied(factors: Mapping[Place, Tensor]) -> Callable[[Place, Tensor], Tensor | None]:
    """Returns what multiplies the units of places, `(width,)` each; a unit times 0 is selected to zero, whatever it is."""

    def meet(place: Place, x: Tensor) -> Tensor | None:
        if place not in factors:
            return None
        shape = [1] * x.ndim
        shape[place.axis] = -1
        factor = factors[place].to(x.device, x.dtype).view(shape)
        return torch.where(factor == 0, torch.zeros((), dtype=x.dtype, device=x.device), x * factor)

    return meet


def by_unit(x: Tensor, axis: int) -> Tensor:
    """Returns activations as `(observations, units)`.

    >>> by_unit(torch.zeros(2, 3, 4, 5), 1).shape
    torch.Size([40, 3])
    """
    return x.movedim(axis, -1).flatten(0, -2)


def one_a_sample(x: Tensor, axis: int, count: int, generator: torch.Generator) -> Tensor:
    """Returns one observation a sample, `(count, units)`: of its positions, one drawn at random.

    Positions of one picture are no independent observations, and positions of several are. Where axis 0 does not count the
    samples, `count` observations are drawn among all.
    """
    if x.shape[0] != count or axis % x.ndim == 0:
        flat = by_unit(x, axis)
        return flat[torch.randint(len(flat), (count,), generator=generator).to(x.device)]
    flat = x.movedim(axis, -1).reshape(count, -1, x.shape[axis])
    at = torch.randint(flat.shape[1], (count,), generator=generator)
    return flat[torch.arange(count, device=x.device), at.to(x.device)]
