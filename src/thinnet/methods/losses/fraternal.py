"""Fraternal dropout: penalises the distance between the logits of two passes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from thinnet.methods.facts import Facts, Method
from thinnet.methods.losses.reduction import Reduction, check, check_pair, counted, reduce

FACTS = Facts()


def fraternal_loss(
    first: Tensor,
    second: Tensor,
    target: Tensor,
    kappa: float = 0.15,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Returns the mean cross-entropy of two passes, plus kappa times the mean square distance of their logits.

        L = (CE(z1, y) + CE(z2, y)) / 2 + kappa mean_c((z1 - z2)^2)

    It is computed at each position, with the mean over the classes c.

    Noise shape: one mask of the whole model per pass.
    Use when: in the loss of recurrent language models, and of classifiers with dropout.
    Avoid when: logits are unbounded and a constant may be added to them: this penalty changes with it, R-Drop's does not.
    Start with: kappa = 0.15.
    Cost: a second forward and backward pass, or a batch of twice the size.
    Other implementations: the authors' code. Expectation-linear dropout uses a second pass without dropout; the Pi-model one
        without its loss.

    Args:
        first: logits of the first pass, `(N, C, ...)`.
        second: logits of the second pass, under different masks: with addressed masks, in `rng.view(1)`.
        target: classes, `(N, ...)`, or probabilities, `(N, C, ...)`.
        kappa: weight of the penalty.
        ignore_index: the class of padding, which counts in neither term.
        reduction: "mean" over the positions that count, "sum", or "none".

    Returns: a scalar, or `(N, ...)` without reduction; in the dtype of the logits.

    Raises:
        ValueError: the shapes differ, `kappa` is negative, or the reduction is unknown.

    Source: Zolna, Arpit, Suhubdy, Bengio 2018, ICLR, arXiv:1711.00066.

    >>> z, y = torch.zeros(2, 3), torch.tensor([0, 2])
    >>> round(float(fraternal_loss(z, z + 1, y, kappa=0.0)), 4), round(float(fraternal_loss(z, z + 1, y, kappa=0.5)), 4)
    (1.0986, 1.5986)
    """
    check("fraternal_loss", reduction, kappa=kappa)
    check_pair("fraternal_loss", first, second)
    wide = torch.promote_types(first.dtype, torch.float32)
    one, two = (logits.to(wide).clamp(min=torch.finfo(wide).min) for logits in (first, second))  # -inf - -inf is no number
    right = sum(F.cross_entropy(z, target, ignore_index=ignore_index, reduction="none") for z in (one, two)) / 2
    return reduce(right + kappa * (one - two).square().mean(1), reduction, counted(target, ignore_index)).to(first.dtype)


METHODS = (Method(FACTS, function=fraternal_loss, title="Fraternal dropout"),)
