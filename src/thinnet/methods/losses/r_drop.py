"""R-Drop: two passes under two masks shall be right, and say the same.

    L = CE(z1, y) + CE(z2, y) + alpha (KL(P1 || P2) + KL(P2 || P1)) / 2,  the mean over the batch

Wu, Li, Wang, Liang, Qin, Chen, Zhang, Zhou, Liu 2021, NeurIPS, arXiv:2106.14448.
"""

from torch import Tensor
from torch.nn import functional as F

from thinnet.methods.facts import Facts, Method
from thinnet.methods.losses.reduction import Reduction, check, check_pair, counted, log_predictions, reduce

FACTS = Facts(
    name="R-Drop",
    summary="Adds the two cross-entropies of two passes under two masks, and the divergence between what they predict.",
    equation="L = CE(z1, y) + CE(z2, y) + alpha (KL(P1 || P2) + KL(P2 || P1)) / 2",
    paper="Wu et al. 2021, arXiv:2106.14448",
    grain="the masks of a whole pass",
    place="in the loss of any classifier with dropout: translation, fine-tuning, vision transformers",
    avoid="where a second pass costs more than another epoch would bring",
    default="alpha between 0.3 and 5, chosen on held-out data; the rates as without it",
    cost="a second forward and backward pass, or a batch of twice the size",
    elsewhere="the authors' examples: their README takes the mean of the two cross-entropies, so the same alpha weighs twice as"
    " much there, and their code sums the divergence over the batch, so that alpha depends on its size",
)


def r_drop_loss(
    first: Tensor,
    second: Tensor,
    target: Tensor,
    alpha: float = 1.0,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Returns the loss of two passes: both cross-entropies, and alpha times the symmetric divergence of the predictions.

    L = CE(z1, y) + CE(z2, y) + alpha (KL(P1 || P2) + KL(P2 || P1)) / 2, as in the paper, at each place; then the mean.

    The cross-entropy counts twice, so a learning rate or an L2 penalty that was tuned for one pass meets a loss twice as large.
    Half of this loss is that of the authors' README at half of this alpha.

    Args:
        first: logits of the first pass, `(N, C, ...)`.
        second: logits of the second pass, under other masks.
        target: classes, `(N, ...)`, or probabilities, `(N, C, ...)`.
        alpha: weight of the divergence.
        ignore_index: the class of padding, which counts in neither term.
        reduction: "mean" over the places that count, "sum", or "none".

    Returns: a scalar, or `(N, ...)` without reduction; in the dtype of the logits.

    Raises: ValueError where the shapes differ, `alpha` is negative or the reduction is unknown.

    Source: Wu et al. 2021, arXiv:2106.14448.

    With named coins the second pass is another view of the same samples:

    >>> import torch, thinnet
    >>> model = torch.nn.Sequential(thinnet.nn.Dropout(0.1), torch.nn.Linear(4, 3))
    >>> x, y = torch.randn(8, 4), torch.arange(8) % 3
    >>> rng = thinnet.DropoutRNG(seed=0).bind(model).at(0)
    >>> first = model(x)
    >>> with rng.view(1):
    ...     second = model(x)
    >>> loss = r_drop_loss(first, second, y, alpha=0.5)
    >>> bool(loss > r_drop_loss(first, second, y, alpha=0.0))
    True
    """
    check("r_drop_loss", reduction, alpha=alpha)
    check_pair("r_drop_loss", first, second)
    one, two = log_predictions(first, 1), log_predictions(second, 1)
    right = sum(F.cross_entropy(z.to(one.dtype), target, ignore_index=ignore_index, reduction="none") for z in (first, second))
    apart = ((one.exp() - two.exp()) * (one - two)).sum(1) / 2
    return reduce(right + alpha * apart, reduction, counted(target, ignore_index)).to(first.dtype)


METHODS = (Method(FACTS, function=r_drop_loss),)
