"""Scaled dot-product attention whose dropout needs `training` to be passed."""

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch._C import _is_torch_function_mode_enabled
from torch.overrides import handle_torch_function

from thinnet.methods.attention import drop_head
from thinnet.methods.attention.attend import attend
from thinnet.methods.call import draw_key, no_tensor, not_default

Method = Literal["AttentionDropout", "DropKey", "DropAttention", "DropHead"]


OPTIONS: dict[str, dict[str, Any]] = {
    "AttentionDropout": {},
    "DropKey": {"renormalised": True},
    "DropAttention": {"renormalised": True},
    "DropHead": {},
}


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
    enable_gqa: bool = False,
    method: Method = "AttentionDropout",
    window: tuple[int | None, int | None] = (None, None),
    first_query: Tensor | int | None = None,
    first_key: Tensor | int | None = None,
    query_starts: Tensor | None = None,
    key_starts: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Scaled dot-product attention with dropout on its weights in training, and without in eval.

        y = (A m / (1 - p)) v,  A = softmax(q k' / sqrt(d) + mask),  m ~ Bernoulli(1 - p)

    One random decision covers a weight. No weight and no mask is stored for backward. Without dropout it calls
    `torch.nn.functional.scaled_dot_product_attention`, or the same kernel where that is faster: on a CPU from 64 queries and 64
    keys on. Both agree up to rounding. A query that may attend to nothing returns zeros, as in PyTorch.

    Args:
        q: queries, `(B, H, T, D)`. All three may be nested tensors, in the layout torch.jagged, with lengths on axis 2.
        k: keys, `(B, H, S, D)`.
        v: values, `(B, H, S, E)`.
        p: probability that an attention weight is dropped, rounded to 1/65536.
        training: whether to drop.
        mask: broadcasts to `(B, H, T, S)`; bool, True where a query may attend, or numbers that are added to the logits.
        is_causal: whether query t may attend to the keys 0 .. t only.
        scale: factor of the logits; 1 / sqrt(D) if None.
        enable_gqa: whether k and v may have fewer heads than q, each for H / G neighbouring heads of q.
        method: what is dropped. "DropKey" and "DropAttention" drop a weight before and after the softmax and rescale the row,
            which is the same; "DropHead" drops whole heads of a sample and does not compute them.
        window: how many positions before and behind its own a query attends to; None for all.
        first_query: the position of the first query, for all samples or for each, `(B,)`. Mask and window read positions.
        first_key: the same for the keys.
        query_starts: for packed sequences, which follow each other on axis 2 of a batch of 1: where each begins, and where the
            last one ends, `(N + 1,)`, int64.
        key_starts: the same for the keys.
        generator: source of the seed; by default torch's generator of the device.

    Returns: `(B, H, T, E)`.

    Raises: ValueError if `p` is not in [0, 1], shapes do not fit, or both a mask and `is_causal` are given.

    Source: Vaswani et al. 2017, arXiv:1706.03762; Dao et al. 2022, arXiv:2205.14135 (no stored weights).

    >>> q = k = v = torch.randn(2, 4, 6, 8)
    >>> torch.equal(attention(q, k, v, p=0.1, training=False), torch.nn.functional.scaled_dot_product_attention(q, k, v))
    True
    """
    if not isinstance(q, Tensor):
        return no_tensor(attention, locals())
    if _is_torch_function_mode_enabled():  # whoever replaces functions sees one call, as of PyTorch's
        return handle_torch_function(attention, (), **not_default(attention, locals()))
    if mask is not None and is_causal:
        raise ValueError("attention: mask must be left out where is_causal is True; got both. Put the triangle into the mask.")
    if method not in OPTIONS:
        raise ValueError(f"attention: method must be one of {', '.join(OPTIONS)}; got {method!r}.")
    if not enable_gqa and q.ndim > 3 and q.shape[-3] != k.shape[-3] != 1:
        raise ValueError(f"attention: q and k must have as many heads; got {q.shape[-3]}, {k.shape[-3]}. Set enable_gqa=True.")
    key = draw_key("attention", q, p, training, generator, below_one=method != "AttentionDropout")
    given = {"first_query": first_query, "first_key": first_key, "query_starts": query_starts, "key_starts": key_starts}
    options = {name: value for name, value in given.items() if value is not None}
    if key is not None:
        options |= OPTIONS[method]
    if key is not None and method == "DropHead":
        if q.ndim != 4:
            raise ValueError(f"attention: q must be (B, H, T, D) where heads are dropped; got shape {tuple(q.shape)}.")
        samples = q.shape[0] if query_starts is None else query_starts.numel() - 1
        options["head_scale"] = drop_head.scales(key, samples, q.shape[1])
        key = replace(key, rate=torch.zeros_like(key.rate))
    return attend(key, q, k, v, mask=mask, is_causal=is_causal, scale=scale, window=window, **options)
