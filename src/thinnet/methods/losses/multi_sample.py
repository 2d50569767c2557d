"""Multi-sample dropout: the head sees each sample under several masks in one step."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thinnet.methods.facts import Facts, Method
from thinnet.methods.weights.wrapped import Wrapped

FACTS = Facts(
    expected_drop=lambda p, **_: p,
)


class MultiSample(Wrapped):
    """Applies M masks of dropout before a head, as one batch of M N samples in training; runs the head alone in eval.

        z_m = head(x mask_m / (1 - p)),  m = 1 .. M;  L = 1/M sum_m loss(z_m, y);  z = head(x) in eval

    Batch normalisation in the head sees the M N samples together. A checkpoint has the keys of the head.

    Noise shape: one decision per element, for each of the M masks.
    Use when: instead of dropout before the head of a deep backbone, which runs once for all masks.
    Avoid when: the head is most of the network: its work grows by the factor M.
    Start with: M = 8 masks, p = 0.5.
    Cost: M forward and backward passes of the head, as one batch; no mask is kept.
    Other implementations: loops over M dropout modules before one head, in competition code.

    Args:
        head: the module behind the dropout.
        p: fraction of elements set to zero, on average; rounded to 1/65536.
        masks: M, the number of masks.

    Shapes: `(N, ...)` to `(M, N, ...)` in training, for `multi_sample_loss`, and to `(N, ...)` in eval.

    Raises:
        ValueError: `p` is not in [0, 1], or `masks` is not a positive integer.
        TypeError: `head` is not a module.

    Source: Inoue 2019, arXiv:1905.09788.

    >>> head, x, y = MultiSample(nn.Linear(6, 3), p=0.5, masks=4), torch.randn(8, 6), torch.arange(8) % 3
    >>> logits = head(x)
    >>> logits.shape, multi_sample_loss(logits, y).shape, head.eval()(x).shape
    (torch.Size([4, 8, 3]), torch.Size([]), torch.Size([8, 3]))
    """

    def __init__(self, head: nn.Module, p: float | None = 0.5, masks: int = 8) -> None:
        if isinstance(masks, bool) or not isinstance(masks, int) or masks < 1:
            raise ValueError(f"MultiSample: masks must be a positive integer; got {masks!r}. Eight are common.")
        super().__init__(head, p)
        self.masks = masks

    def bare_in_eval(self) -> bool:
        return True

    def drop(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.layer(x)
        copies = self.apply_noise(x.unsqueeze(1).expand(-1, self.masks, *x.shape[1:]))
        return self.layer(copies.flatten(0, 1)).unflatten(0, (-1, self.masks)).transpose(0, 1)

    def extra_repr(self) -> str:
        return f"p={self.p}, masks={self.masks}"


def multi_sample_loss(
    logits: Tensor,
    target: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> Tensor:
    """Returns the mean of the losses under the M masks of `MultiSample`.

    Args:
        logits: `(M, N, ...)`, the output of `MultiSample` in training.
        target: the target of the loss for one mask.
        loss: a function of `(logits of one mask, target)`, with any reduction.

    Returns: the mean of what `loss` returns.

    Raises:
        ValueError: the logits have fewer than two axes, or there is no mask.

    Source: Inoue 2019, arXiv:1905.09788.

    >>> y = torch.tensor([0, 1])
    >>> z = torch.randn(8, 2, 3)
    >>> torch.allclose(multi_sample_loss(z, y), F.cross_entropy(z.flatten(0, 1), y.repeat(8)))
    True
    """
    if logits.ndim < 2 or len(logits) == 0:
        rule = "multi_sample_loss: logits must be (M, N, ...)"
        raise ValueError(f"{rule}; got shape {tuple(logits.shape)}. In eval there is one pass: call the loss itself.")
    return torch.stack([loss(each, target) for each in logits]).mean(0)


METHODS = (Method(FACTS, MultiSample, multi_sample_loss, title="Multi-sample dropout"),)
