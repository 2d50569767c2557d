"""Whether two units are needed together or stand in for each other, by the loss without one, the other, and both.

    S(i, j) = L(-i, -j) - L(-i) - L(-j) + L

S < 0: what one did was lost with the other already; the two worked together, which is co-adaptation. S > 0: one stood in for
the other; the two are redundant. S = 0: each does its own. The loss is convex in what units add to the logits, which by itself
makes S a little positive.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Synergy:
    """The synergy of pairs of units of one layer.

    Args:
        mean: of S over the pairs, in units of the loss.
        error: its standard error over pairs.
        relative: Σ S / Σ (|L(-i) - L| + |L(-j) - L|): the mean as a share of what the units do by themselves.
        negative: the share of pairs with S < 0, which are needed together.
        pairs: how many were drawn.
    """

    mean: float
    error: float
    relative: float
    negative: float
    pairs: int


def synergy(loss: Callable[[Tensor], float], width: int, pairs: int = 32, seed: int = 0) -> Synergy | None:
    """Returns the synergy of random pairs, no unit in two of them; None for fewer than four units.

    Args:
        loss: takes what each unit is multiplied by, `(width,)`, and returns the loss.
        width: how many units there are.
        pairs: how many are drawn, half of the width at most.
        seed: of the pairs.

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
