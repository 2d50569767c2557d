"""Consistency: penalises the differences between the predictions under several masks."""

import math

from torch import Tensor

from thinnet.methods.facts import Facts, Method
from thinnet.methods.losses.reduction import Reduction, check, log_predictions, reduce

FACTS = Facts()


def consistency_loss(logits: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Returns the Jensen-Shannon divergence between the predictions under M masks: from 0 if they are equal to log M.

        JS = 1/M sum_m KL(P_m || Q),  Q = 1/M sum_m P_m

    Noise shape: one mask of the whole model per pass.
    Use when: beside the cross-entropy, with two or more passes under different masks, or with a multi-sample head.
    Avoid when: as the only loss: any constant prediction makes it zero.
    Start with: weight 1, beside the cross-entropy of each pass.
    Cost: a forward and backward pass for each mask.
    Other implementations: the authors' code. For two predictions it is at most log 2, while R-Drop's divergence has no bound.

    Args:
        logits: `(M, N, C, ...)`: M passes stacked, as from `MultiSample`.
        reduction: "mean" over the positions, "sum", or "none"; to exclude padding, use "none" and select.

    Returns: a scalar, or `(N, ...)` without reduction; in the dtype of the logits.

    Raises:
        ValueError: the logits have fewer than three axes, or the reduction is unknown.

    Source: Chen, Shen, Chen, Yang 2021, ACL, arXiv:2106.00149 (HiddenCut).

    >>> import torch
    >>> far = torch.tensor([[[9.0, -9.0]], [[-9.0, 9.0]]])
    >>> round(float(consistency_loss(far)), 3), float(consistency_loss(far[:1].expand(5, 1, 2)).abs() < 1e-6)
    (0.693, 1.0)
    """
    check("consistency_loss", reduction)
    if logits.ndim < 3 or len(logits) == 0:
        rule = "consistency_loss: logits must be (M, N, C, ...)"
        raise ValueError(f"{rule}; got shape {tuple(logits.shape)}. Stack the passes: torch.stack([first, second]).")
    each = log_predictions(logits, 2)
    mean = each.logsumexp(0) - math.log(len(each))
    return reduce((each.exp() * (each - mean)).sum(2).mean(0), reduction).to(logits.dtype)


METHODS = (Method(FACTS, function=consistency_loss, title="Consistency of several masks"),)
