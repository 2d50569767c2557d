"""Consistency: the predictions of several masks shall be one, by the Jensen-Shannon divergence of all of them.

    JS = 1/M sum_m KL(P_m || Q),  Q = 1/M sum_m P_m

Chen, Shen, Chen, Yang 2021, ACL, arXiv:2106.00149 (HiddenCut), which adds it to the cross-entropy.
"""

import math

from torch import Tensor

from thinnet.methods.facts import Facts, Method
from thinnet.methods.losses.reduction import Reduction, check, log_predictions, reduce

FACTS = Facts(
    name="Consistency of several masks",
    summary="Measures how far the predictions under several masks are from their mean: the Jensen-Shannon divergence.",
    equation="JS = 1/M sum_m KL(P_m || Q),  Q = 1/M sum_m P_m",
    paper="Chen et al. 2021, arXiv:2106.00149",
    grain="the masks of a whole pass",
    place="beside the cross-entropy, with two or more passes under other masks, or with a multi-sample head",
    avoid="alone: any constant prediction makes it zero",
    default="weight 1, beside the cross-entropy of each pass",
    cost="a forward and backward pass for each mask",
    elsewhere="the authors' code; for two predictions it is bounded by log 2, where R-Drop's divergence has no bound",
)


def consistency_loss(logits: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Returns the Jensen-Shannon divergence among the predictions of M masks: 0 where they are equal, and at most log M.

    JS = 1/M sum_m KL(P_m || Q) with Q = 1/M sum_m P_m, at each place; then the mean.

    Args:
        logits: `(M, N, C, ...)`, M passes stacked, as `MultiSample` gives them.
        reduction: "mean" over the places, "sum", or "none"; to leave padding out, take "none" and select.

    Returns: a scalar, or `(N, ...)` without reduction; in the dtype of the logits.

    Raises: ValueError where the logits have fewer than three axes, or the reduction is unknown.

    Source: Chen et al. 2021, arXiv:2106.00149.

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


METHODS = (Method(FACTS, function=consistency_loss),)
