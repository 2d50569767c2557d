"""Sparsity of a layer: means, zeros and the histogram of its activations in eval mode."""

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 40


@dataclass(frozen=True)
class Sparsity:
    """The sparsity of one layer.

    Args:
        mean: mean activation.
        std: standard deviation of all activations.
        zeros: the fraction of activations that are exactly 0.
        dead: the fraction of units that are 0 on every sample.
        sparseness: 1 - E[|a|]² / E[a²], averaged over units that are not dead: 0 for a constant, near 1 for a unit that
            is active on one of very many samples.
        edges, counts: the histogram: `BINS` + 1 edges, and the fraction of activations in each bin.
    """

    mean: float
    std: float
    zeros: float
    dead: float
    sparseness: float
    edges: list[float]
    counts: list[float]


def sparsity(activations: Tensor) -> Sparsity:
    """Returns the sparsity of activations `(n, D)`.

    Srivastava et al. compare mean activations at test time, so pass activations of eval mode, not of training.

    Source: Srivastava et al. 2014, JMLR 15, section 7.2; Rolls and Tovee 1995, J. Neurophysiology 73 (sparseness).

    >>> found = sparsity(torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 4.0]]))
    >>> found.mean, found.zeros, found.dead
    (1.0, 0.5, 0.5)
    """
    a = activations.double()
    alive = a[:, (a != 0).any(0)]
    ratio = alive.abs().mean(0).square() / alive.square().mean(0)
    low, high = float(a.min()), float(a.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = torch.histc(a.cpu(), BINS, low, high) / a.numel()
    return Sparsity(
        mean=float(a.mean()),
        std=float(a.std(correction=0)),
        zeros=float((a == 0).double().mean()),
        dead=1 - alive.shape[1] / a.shape[1],
        sparseness=float(1 - ratio.mean()) if alive.numel() else 1.0,
        edges=torch.linspace(low, high, BINS + 1).tolist(),
        counts=counts.tolist(),
    )
