"""Attention dropout: drops weights of the softmax."""

from dataclasses import replace

import torch
from torch import Tensor

from thinnet.methods.attention.attend import WeightsSite
from thinnet.methods.call import call, no_tensor
from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Method, Use

FACTS = replace(
    dropout.FACTS,
    used_by=(
        Use("transformers, BERT", "attention_probs_dropout_prob=0.1"),
        Use("transformers, GPT-2", "attn_pdrop=0.1"),
    ),
)


def attention_dropout(
    weights: Tensor,
    p: float | Tensor = 0.1,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `AttentionDropout`.

    Args:
        weights: `(B, H, T, S)`, after the softmax.
        training: whether to drop; `weights` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> rows = attention_dropout(torch.full((1, 1, 2, 4), 0.25), 0.5, training=True).sum(-1)
    >>> bool((rows * 2 == (rows * 2).round()).all())  # each kept weight is 0.5
    True
    """
    if not isinstance(weights, Tensor):
        return no_tensor(attention_dropout, locals())
    return call("attention_dropout", weights, p, training, False, generator)


class AttentionDropout(WeightsSite):
    """Drops each attention weight, after the softmax, and scales the kept ones by 1 / (1 - p).

        y[b, h, t, s] = A[b, h, t, s] m[b, h, t, s] / (1 - p),  A = softmax(q k' / sqrt(d)),  m ~ Bernoulli(1 - p)

    The sum of a row is 1 on average only. It never works in place, because the softmax needs its output for backward.

    Noise shape: one decision per weight: query and key of a head.
    Use when: between the softmax of an attention layer and its values.
    Avoid when: rows must sum to 1 in training: use DropAttention or DropKey; or each training example is seen once.
    Start with: p = 0.1.
    Cost: one random decision per weight. `site(q, k, v)` computes attention with this dropout and stores neither weights nor
        mask. `site(weights)` needs the (B, H, T, S) weights, which are then stored before and after dropout.
    Other implementations: dropout_p of torch's scaled_dot_product_attention, which also drops in eval unless the caller passes
        0.

    Args:
        p: probability that a weight is dropped, rounded to 1/65536.

    Shapes: `(B, H, T, S)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1].

    Source: Vaswani et al. 2017, arXiv:1706.03762, and its published code.

    >>> AttentionDropout(0.1)(torch.rand(2, 4, 6, 6).softmax(-1)).shape
    torch.Size([2, 4, 6, 6])
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)


METHODS = (Method(FACTS, AttentionDropout, attention_dropout, lambda x: attention_dropout(x, 0.3, training=True)),)
