"""Combines the two masks of an attention layer."""

import torch
from torch import Tensor


def added(attn_mask: Tensor | None, padding: Tensor | None, q: Tensor, keys: int, heads: int) -> Tensor | None:
    """Returns the sum of both masks, broadcast to `(B, H, T, S)` and added to the logits; None if there is none.

    Args:
        attn_mask: `(T, S)` or `(B H, T, S)`: True where a query may not attend, or numbers.
        padding: `(B, S)` or `(S,)`: True at padding, or numbers.
        q: queries, `(B, ..., T, D)`.
        keys: S.
        heads: H.

    >>> added(torch.tensor([[False, True]]), None, torch.ones(3, 4, 1, 8), 2, 4)
    tensor([[[[0., -inf]]]])
    """
    batch, _, queries, _ = q.shape
    masks = []
    if attn_mask is not None:
        _check_shape("attn_mask", attn_mask, (queries, keys), (batch * heads, queries, keys))
        masks.append(attn_mask.unflatten(0, (batch, heads)) if attn_mask.ndim == 3 else attn_mask[None, None])
    if padding is not None:
        _check_shape("key_padding_mask", padding, (batch, keys), *([(keys,)] if batch == 1 else []))
        masks.append(padding.reshape(batch, 1, 1, keys))
    zero = q.new_zeros(())
    numbers = [zero.masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else mask.to(q.dtype) for mask in masks]
    return None if not numbers else numbers[0] if len(numbers) == 1 else numbers[0] + numbers[1]


def _check_shape(name: str, mask: Tensor, *shapes: tuple[int, ...]) -> None:
    if tuple(mask.shape) not in shapes:
        rule = f"must be of shape {' or '.join(map(str, shapes))}"
        raise ValueError(f"MultiheadAttention: {name} {rule}; got {tuple(mask.shape)}. Its last axis counts the keys.")
