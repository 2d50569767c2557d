"""Differences in direction between minibatch gradients, and from the gradient of all data.

    direction variance   mean over pairs i < j of ½ (1 - cos(g_i, g_j))
    direction error      mean over i of ½ (1 - cos(g_i, ĝ)),   ĝ of all data with dropout off

Both are in 0 .. 1, and ½ for unrelated directions. With u_i = g_i / ‖g_i‖, Σ_{i≠j} cos(g_i, g_j) = ‖Σ u_i‖² - k, so one vector
is held instead of k.

Source: Liu et al. 2023, arXiv:2303.01500.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Directions:
    """The directions of minibatch gradients.

    Args:
        variance: direction variance.
        error: direction error against the gradient of all data with dropout off.
        norm: mean length of a minibatch gradient.
        batches: the number of gradients.
    """

    variance: float
    error: float
    norm: float
    batches: int


@dataclass(frozen=True)
class Gradients:
    """The directions of the same minibatches with dropout on and off, and the length of the gradient of all data."""

    on: Directions
    off: Directions
    full_norm: float
    batch_size: int


def directions(gradients: Iterable[Tensor], full: Tensor) -> Directions:
    """Returns direction variance and error of a stream of gradients.

    Args:
        gradients: the gradients of minibatches, each `(P,)`; at least two.
        full: the gradient of all data with dropout off, `(P,)`.

    Raises:
        ValueError: there are fewer than two gradients, or one is 0 or not finite.

    Source: Liu et al. 2023, arXiv:2303.01500.

    >>> one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    >>> directions([one, other], one).variance, directions([one, other], one).error, directions([one, one], one).variance
    (0.5, 0.25, 0.0)
    """
    total = torch.zeros_like(full, dtype=torch.float64)
    target = _unit(full)
    norms, errors = [], []
    for gradient in gradients:
        unit = _unit(gradient)
        total += unit
        norms.append(float(gradient.double().norm()))
        errors.append(float((1 - unit @ target) / 2))
    k = len(norms)
    if k < 2:
        raise ValueError(f"directions: there must be two gradients or more; got {k}. Use smaller minibatches or more samples.")
    cosine = (float(total @ total) - k) / (k * (k - 1))
    return Directions(max(0.0, (1 - cosine) / 2), max(0.0, sum(errors) / k), sum(norms) / k, k)


def _unit(gradient: Tensor) -> Tensor:
    norm = gradient.double().norm()
    if not (norm > 0 and norm.isfinite()):
        raise ValueError(f"directions: a gradient must be finite and not 0; got one of length {float(norm):g}.")
    return gradient.double() / norm
