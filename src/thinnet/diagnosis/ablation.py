"""What is left of a network when a part of a layer's units is set to zero: a redundant layer loses little.

    score(f) = the score of the network with round(f D) of D units zeroed, f = 0, .1, ..., 1

One order of the units is drawn for each curve, and each fraction takes the first units of it. Plain, and with the units that
are left multiplied by D / (D - K), as training with dropout did.

Source: Morcos et al. 2018, arXiv:1803.06959.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FRACTIONS = tuple(i / 10 for i in range(11))


@dataclass(frozen=True)
class Ablation:
    """The robustness of one layer; each list of curves has one curve an order, and one score a fraction.

    Args:
        fractions: of units that are zeroed.
        loss, accuracy: plain; `accuracy` is empty where there is none.
        loss_rescaled, accuracy_rescaled: with the units that are left multiplied by D / (D - K).
        area, area_rescaled: under the mean curve of the accuracy, or of the loss where there is no accuracy.
        of: "accuracy" or "loss": what the areas are of.
    """

    fractions: list[float]
    loss: list[list[float]]
    loss_rescaled: list[list[float]]
    accuracy: list[list[float]]
    accuracy_rescaled: list[list[float]]
    area: float
    area_rescaled: float
    of: str


def ablation(
    score: Callable[[Tensor], tuple[float, float | None]],
    width: int,
    orders: int = 5,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
) -> Ablation:
    """Returns the scores of a network against the fraction of a layer's units that are zeroed.

    Args:
        score: takes what each unit is multiplied by, `(width,)`, and returns loss and accuracy; an accuracy of None says that
            there is none.
        width: how many units there are.
        orders: how many orders of the units are drawn.
        fractions: from 0 to 1, rising.
        seed: of the orders.

    Source: Morcos et al. 2018, arXiv:1803.06959.

    >>> found = ablation(lambda factors: (0.0, float(factors.mean())), width=10, orders=1)
    >>> found.accuracy[0][:3], round(found.area, 6), round(found.area_rescaled, 6)
    ([1.0, 0.8999999761581421, 0.800000011920929], 0.5, 0.95)
    """
    generator = torch.Generator().manual_seed(seed)
    intact, none = score(torch.ones(width)), score(torch.zeros(width))
    curves: dict[bool, list[list[tuple[float, float | None]]]] = {False: [], True: []}
    for _ in range(orders):
        order = torch.randperm(width, generator=generator)
        for rescaled, found in curves.items():
            dropped = [round(fraction * width) for fraction in fractions]
            known = {0: intact, width: none}
            found.append([known[k] if k in known else score(factors(order, k, rescaled)) for k in dropped])
    losses = {key: [[loss for loss, _ in curve] for curve in found] for key, found in curves.items()}
    hits = {
        key: [[hit for _, hit in curve if hit is not None] for curve in found if intact[1] is not None]
        for key, found in curves.items()
    }
    judged, of = (losses, "loss") if intact[1] is None else (hits, "accuracy")
    plain, rescaled = (area(fractions, judged[key]) for key in (False, True))
    return Ablation(list(fractions), losses[False], losses[True], hits[False], hits[True], plain, rescaled, of)


def factors(order: Tensor, dropped: int, rescaled: bool) -> Tensor:
    """Returns what each unit is multiplied by: 0 for the first `dropped` of `order`, and 1 or D / (D - K) for the others.

    >>> factors(torch.tensor([2, 0, 1, 3]), 2, rescaled=True)
    tensor([0., 2., 0., 2.])
    """
    width = len(order)
    kept = torch.full((width,), width / (width - dropped) if rescaled else 1.0)
    kept[order[:dropped]] = 0
    return kept


def area(fractions: Sequence[float], curves: Sequence[Sequence[float]]) -> float:
    """Returns the area under the mean of curves over the fractions, by trapezoids, divided by the length of the axis.

    >>> area([0.0, 0.5, 1.0], [[1.0, 1.0, 0.0]])
    0.75
    """
    mean = torch.tensor(curves, dtype=torch.float64).mean(0)
    at = torch.tensor(list(fractions), dtype=torch.float64)
    return float(torch.trapezoid(mean, at) / (at[-1] - at[0]))
