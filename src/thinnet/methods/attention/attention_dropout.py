"""Attention dropout: each weight of the softmax is dropped by a coin of its own, so that no query leans on one key alone.

    y[b, h, t, s] = A[b, h, t, s] m[b, h, t, s] / (1 - p),  A = softmax(q k' / sqrt(d)),  m ~ Bernoulli(1 - p)

The toss of `Dropout` at another place. Vaswani et al. 2017, arXiv:1706.03762, by way of its published code.
"""

import torch
from torch import Tensor

from thinnet.methods.call import call
from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Facts, Method
from thinnet.rng import Site

FACTS = Facts(
    name="Attention dropout",
    summary="Drops each attention weight, after the softmax, by its own coin and scales the kept ones by 1 / (1 - p).",
    equation="y = A m / (1 - p),  A = softmax(q k' / sqrt(d)),  m ~ Bernoulli(1 - p)",
    paper="Vaswani et al. 2017, arXiv:1706.03762",
    grain="weight: query and key of a head",
    place="between the softmax of an attention layer and its values",
    avoid="where rows have to sum to 1 in training: take DropAttention or DropKey; where data are seen once",
    default="0.1",
    cost="one coin a weight, and the weights have to exist: fused attention without dropout never stores the (B, H, T, S) that"
    " are kept here twice for backward, before and after the toss; no mask is kept",
    elsewhere="the dropout_p of torch's scaled_dot_product_attention, which is on in eval too unless the caller sees to it",
    expected_drop=dropout.FACTS.expected_drop,
    mean=dropout.FACTS.mean,
    variance=dropout.FACTS.variance,
    definition=dropout.definition,
)


def attention_dropout(
    weights: Tensor,
    p: float | Tensor = 0.1,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Drops attention weights at random and scales the kept ones by 1 / (1 - p): the sum of a row is 1 on average only.

    y = A m / (1 - p), with m ~ Bernoulli(1 - p) for each weight.

    Args:
        weights: `(B, H, T, S)`, after the softmax.
        p: fraction of weights set to zero, on average; honoured to 1/65536.
        training: whether coins are tossed. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `weights`.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Vaswani et al. 2017, arXiv:1706.03762.

    >>> rows = attention_dropout(torch.full((1, 1, 2, 4), 0.25), 0.5, training=True).sum(-1)
    >>> bool((rows * 2 == (rows * 2).round()).all())  # of four halves, as many as were kept
    True
    """
    return call("attention_dropout", weights, p, training, False, generator)


class AttentionDropout(Site):
    """Drops attention weights at random in training; does nothing in eval.

    y = A m / (1 - p), with m ~ Bernoulli(1 - p) for each weight.

    It is never in place: the softmax before it needs its own output for backward.

    Args:
        p: fraction of weights set to zero, on average; honoured to 1/65536.

    Shapes: `(B, H, T, S)`, the same out as in.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Vaswani et al. 2017, arXiv:1706.03762.

    >>> AttentionDropout(0.1)(torch.rand(2, 4, 6, 6).softmax(-1)).shape
    torch.Size([2, 4, 6, 6])
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def drop(self, x: Tensor) -> Tensor:
        """Tosses one coin for each weight."""
        return self.apply_noise(x)


METHODS = (
    Method(
        FACTS,
        AttentionDropout,
        attention_dropout,
        lambda x: attention_dropout(x, 0.3, training=True),
    ),
)
