"""R-Drop: penalises the divergence between the predictions of two passes."""

from torch import Tensor
from torch.nn import functional as F

from thinnet.methods.facts import Facts, Method
from thinnet.methods.losses.reduction import Reduction, check, check_pair, counted, log_predictions, reduce

FACTS = Facts()


def r_drop_loss(
    first: Tensor,
    second: Tensor,
    target: Tensor,
    alpha: float = 1.0,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Returns the sum of the cross-entropies of two passes, plus alpha times the symmetric divergence of their predictions.

        L = CE(z1, y) + CE(z2, y) + alpha (KL(P1 || P2) + KL(P2 || P1)) / 2

    The cross-entropy counts twice, so a learning rate or an L2 penalty tuned for one pass now meets a loss twice as large.

    Noise shape: one mask of the whole model per pass.
    Use when: in the loss of any classifier with dropout: translation, fine-tuning, vision transformers.
    Avoid when: a second pass costs more than another epoch would bring.
    Start with: alpha between 0.3 and 5, chosen on a validation set; the dropout rates as without it.
    Cost: a second forward and backward pass, or a batch of twice the size.
    Other implementations: the authors' README has the mean of the two cross-entropies: half of this loss at half of this alpha.
        Their code sums the divergence over the batch, so that alpha depends on its size.

    Args:
        first: logits of the first pass, `(N, C, ...)`.
        second: logits of the second pass, under different masks.
        target: classes, `(N, ...)`, or probabilities, `(N, C, ...)`.
        alpha: weight of the divergence.
        ignore_index: the class of padding, which counts in neither term.
        reduction: "mean" over the positions that count, "sum", or "none".

    Returns: a scalar, or `(N, ...)` without reduction; in the dtype of the logits.

    Raises:
        ValueError: the shapes differ, `alpha` is negative, or the reduction is unknown.

    Source: Wu et al. 2021, NeurIPS, arXiv:2106.14448.

    With addressed masks the second pass is another view of the same samples:

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


METHODS = (Method(FACTS, function=r_drop_loss, title="R-Drop"),)
