"""Reads hidden activations of a running model, or replaces them: before a module, after it, or at a call of dropout."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.models.trace import trace
from thinnet.models.trace.modules import Values

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


def meet_values(
    model: nn.Module, places: Iterable[Place], meet: Callable[[Place, Tensor], Tensor | None], run: Callable[[], Any]
) -> None:
    """Runs a model and shows its activations at places, at the first use of each in a forward pass.

    Args:
        model: what runs.
        places: where.
        meet: takes place and activations; a tensor that it returns takes their place.
        run: runs the model, once or several times.
    """
    known = {(place.name, place.side, place.number): place for place in places}

    def met(name: str, side: str, number: int, x: Tensor) -> Tensor | None:
        place = known.get((name, side, number))
        return None if place is None else meet(place, x)

    trace(model, run, values=Values({(name, side) for name, side, _ in known}, met, CALLED))


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
