"""Redundancy of a layer: the scores of a network with units zeroed, at random and in pairs.

    ablation   score(f) = the score with round(f D) of D units zeroed, f = 0, .1, ..., 1
    synergy    S(i, j) = L(-i, -j) - L(-i) - L(-j) + L

Each curve of the ablation draws one order of the units, and each fraction zeroes the first units of it: plain, and with the
other units multiplied by D / (D - K), as in training with dropout.

S < 0: the two units are needed together, which is co-adaptation. S > 0: one can replace the other; they are redundant. S = 0:
they are independent. The loss is convex in the logits, which alone makes S slightly positive.

Source: Morcos et al. 2018, arXiv:1803.06959 (ablation).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FRACTIONS = tuple(i / 10 for i in range(11))


@dataclass(frozen=True)
class Ablation:
    """The robustness of one layer; each list of curves has one curve per order, and one score per fraction.

    Args:
        fractions: the fractions of units that are zeroed.
        loss, accuracy: plain; `accuracy` is empty if the targets are not classes.
        loss_rescaled, accuracy_rescaled: with the other units multiplied by D / (D - K).
        area, area_rescaled: the area under the mean curve of the accuracy, or of the loss without one.
        of: "accuracy" or "loss": the score of the areas.
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
    seed: int = 0,
) -> Ablation:
    """Returns the scores of a network against the fraction of a layer's units that are zeroed.

    Args:
        score: takes the factor of each unit, `(width,)`, and returns loss and accuracy (or None).
        width: the number of units.
        orders: the number of random orders.
        seed: the seed of the orders.

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
            dropped = [round(fraction * width) for fraction in FRACTIONS]
            known = {0: intact, width: none}
            found.append([known[k] if k in known else score(factors(order, k, rescaled)) for k in dropped])
    losses = {key: [[loss for loss, _ in curve] for curve in found] for key, found in curves.items()}
    hits = {
        key: [[hit for _, hit in curve if hit is not None] for curve in found if intact[1] is not None]
        for key, found in curves.items()
    }
    scored, of = (losses, "loss") if intact[1] is None else (hits, "accuracy")
    plain, rescaled = (area(FRACTIONS, scored[key]) for key in (False, True))
    return Ablation(list(FRACTIONS), losses[False], losses[True], hits[False], hits[True], plain, rescaled, of)


def factors(order: Tensor, dropped: int, rescaled: bool) -> Tensor:
    """Returns the factor of each unit: 0 for the first `dropped` of `order`, and 1 or D / (D - K) for the others.

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


@dataclass(frozen=True)
class Synergy:
    """The synergy of pairs of units of one layer.

    Args:
        mean: the mean of S over the pairs, in units of the loss.
        error: its standard error over pairs.
        relative: Σ S / Σ (|L(-i) - L| + |L(-j) - L|): the mean relative to the effect of the single units.
        negative: the fraction of pairs with S < 0, which are needed together.
        pairs: the number of pairs.
    """

    mean: float
    error: float
    relative: float
    negative: float
    pairs: int


def synergy(loss: Callable[[Tensor], float], width: int, pairs: int = 32, seed: int = 0) -> Synergy | None:
    """Returns the synergy of random disjoint pairs of units; None for fewer than four units.

    Args:
        loss: takes the factor of each unit, `(width,)`, and returns the loss.
        width: the number of units.
        pairs: the number of pairs, at most half of the width.
        seed: the seed of the pairs.

    >>> backup = synergy(lambda kept: 0.0 if kept.any() else 1.0, width=4)
    >>> both = synergy(lambda kept: 0.0 if kept.all() else 1.0, width=4)
    >>> backup.mean, both.mean, both.negative
    (0.0, -1.0, 1.0)
    """
    pairs = min(pairs, width // 2)
    if pairs < 2:
        return None
    order = torch.randperm(width, generator=torch.Generator().manual_seed(seed))[: 2 * pairs].view(pairs, 2).tolist()

    def without(*units: int) -> float:
        kept = torch.ones(width)
        kept[list(units)] = 0
        return loss(kept)

    intact = without()
    rows = [(without(i, j), without(i), without(j)) for i, j in order]
    both, one, other = (torch.tensor(column, dtype=torch.float64) - intact for column in zip(*rows, strict=True))
    s = both - one - other
    alone = float((one.abs() + other.abs()).sum())
    error = float(s.std() / pairs**0.5)
    negative = float((s < 0).double().mean())
    return Synergy(float(s.mean()), error, float(s.sum()) / alone if alone else 0.0, negative, pairs)
