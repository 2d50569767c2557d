"""Scaled dot-product attention whose dropout needs `training` to be passed."""

import torch
import torch.nn.functional as F
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor


def logits(q: Tensor, k: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None) -> Tensor:
    """Returns q k' scale + mask, `(..., T, S)`: the input of the softmax."""
    z = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.transpose(-2, -1)
    if is_causal:
        past = torch.ones(z.shape[-2:], dtype=torch.bool, device=z.device).tril()
        mask = past if mask is None else mask & past if mask.dtype == torch.bool else mask.where(past, -torch.inf)
    if mask is None:
        return z
    return z.where(mask, -torch.inf) if mask.dtype == torch.bool else z + mask


def softmax(z: Tensor, masked: bool) -> Tensor:
    """Returns the softmax over keys, with zeros instead of NaN where all keys of a query are masked."""
    if not masked:
        return z.softmax(-1)
    nothing = z.amax(-1, keepdim=True) == -torch.inf
    return z.masked_fill(nothing, 0).softmax(-1).masked_fill(nothing, 0)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    p: float | Tensor,
    training: bool,
    mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Scaled dot-product attention with dropout on its weights in training, and without in eval.

        y = (A m / (1 - p)) v,  A = softmax(q k' / sqrt(d) + mask),  m ~ Bernoulli(1 - p)

    One random decision covers a weight. Without dropout it calls `torch.nn.functional.scaled_dot_product_attention`, at its
    speed. For other noise, apply `drop_key` before the softmax or `drop_attention` after it, or pass them to
    `MultiheadAttention`. A query that may attend to nothing returns zeros, as in PyTorch.

    Args:
        q: queries, `(B, H, T, D)`.
        k: keys, `(B, H, S, D)`.
        v: values, `(B, H, S, E)`.
        p: probability that an attention weight is dropped, rounded to 1/65536.
        training: whether to drop.
        mask: broadcasts to `(B, H, T, S)`; bool, True where a query may attend, or numbers that are added to the logits.
        is_causal: whether query t may attend to the keys 0 .. t only.
        scale: factor of the logits; 1 / sqrt(D) if None.
        generator: source of the seed; by default torch's generator of the device.

    Returns: `(B, H, T, E)`.

    Raises: ValueError if `p` is not in [0, 1], or both a mask and `is_causal` are given.

    Source: Vaswani et al. 2017, arXiv:1706.03762.

    >>> q = k = v = torch.randn(2, 4, 6, 8)
    >>> torch.equal(attention(q, k, v, p=0.1, training=False), F.scaled_dot_product_attention(q, k, v))
    True
    """
    if not isinstance(q, Tensor):
        return no_tensor(attention, locals())
    if mask is not None and is_causal:
        raise ValueError("attention: mask must be left out where is_causal is True; got both. Put the triangle into the mask.")
    key = draw_key("attention", q, p, training, generator)
    if key is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal, scale=scale)
    weights = softmax(logits(q, k, mask, is_causal, scale), masked=mask is not None)
    return key.apply_noise(weights) @ v
