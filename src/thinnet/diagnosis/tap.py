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
        side: "in" for the input of the module, "out" for its output, "call" for the input of its `number`-th call of a dropout
            function.
        words: the description in a report.
        number: the number of the call, from 0.
        axis: the axis that counts the units.
        width: the number of units.
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

    `run` calls the model, once or several times. A tensor that `meet` returns replaces the activations.
    """
    known = {(place.name, place.side, place.number): place for place in places}

    def met(name: str, side: str, number: int, x: Tensor) -> Tensor | None:
        place = known.get((name, side, number))
        return None if place is None else meet(place, x)

    trace(model, run, values=Values({(name, side) for name, side, _ in known}, met, CALLED))


def multiplied(factors: Mapping[Place, Tensor]) -> Callable[[Place, Tensor], Tensor | None]:
    """Returns a callback that multiplies the units of places by factors `(width,)`; factor 0 gives 0 for inf and nan too."""

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


def one_per_sample(x: Tensor, axis: int, count: int, generator: torch.Generator) -> Tensor:
    """Returns one observation per sample, `(count, units)`: one random position of each.

    Positions of one image depend on each other, those of different images do not. If axis 0 does not count the samples, `count`
    observations are drawn from all positions.
    """
    if x.shape[0] != count or axis % x.ndim == 0:
        flat = by_unit(x, axis)
        return flat[torch.randint(len(flat), (count,), generator=generator).to(x.device)]
    flat = x.movedim(axis, -1).reshape(count, -1, x.shape[axis])
    at = torch.randint(flat.shape[1], (count,), generator=generator)
    return flat[torch.arange(count, device=x.device), at.to(x.device)]
