"""Independent decisions on the condition that at least k units stay, with their exact probabilities."""

from typing import Any

import torch
from torch import Tensor


def counts(units: int, p: Any, least: int) -> Tensor:
    """Returns the probability that k = least .. units of the units stay, on condition that at least `least` do.

    At p = 1 it is the limit: exactly `least` stay.

    >>> counts(2, 0.5, 1)
    tensor([0.6667, 0.3333], dtype=torch.float64)
    """
    p = torch.as_tensor(p, dtype=torch.float64)
    k = torch.arange(least, units + 1, dtype=torch.float64, device=p.device)
    ways = -torch.lgamma(k + 1) - torch.lgamma(units - k + 1)  # logarithms, as the numbers leave float64 from 1030 units on
    return (ways + torch.xlogy(k - least, 1 - p) + torch.xlogy(units - k, p)).softmax(0)


def drop_rate(units: int, p: float, least: int) -> float:
    """Returns the exact probability of each unit to be dropped.

    >>> round(drop_rate(2, 0.5, 1), 12), round(drop_rate(2000, 0.25, 1), 12)
    (0.333333333333, 0.25)
    """
    k = torch.arange(least, units + 1, dtype=torch.float64)
    return 1 - float((counts(units, p, least) * k).sum()) / units


def kept(u: Tensor, p: Any, least: int) -> Tensor:
    """Returns which units stay, `(..., units)`, from uniform numbers, `(..., units + 1)`.

    The first number chooses how many stay; given their number, all subsets are equally likely.

    >>> kept(torch.tensor([0.9, 0.3, 0.8, 0.1]), 0.5, 1)
    tensor([True, True, True])
    """
    units = u.shape[-1] - 1
    number = least + (u[..., :1] >= counts(units, p, least).cumsum(0)[:-1].to(u.dtype)).sum(-1, keepdim=True)
    return u[..., 1:].argsort(dim=-1, stable=True).argsort(-1) < number
