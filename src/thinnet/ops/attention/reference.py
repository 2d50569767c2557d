"""Defines attention with dropout, in plain PyTorch: the bits of every weight, forward and backward.

The random bits of the weight of query t and key s in head h are those of the unit s of the counter

    words = philox4x32_7(counter=(block, sample, step, t), key=subkey(h))
    subkey(h) = the words 0 and 1 of philox4x32_7(counter=(h, 0, 0, site), key=seed ^ ATTENTION)

t and s are positions in the sequence, so the bits depend neither on its length nor on where its parts are stored.
"""

from typing import Any

import torch
from torch import Tensor

from thinnet.ops.attention.settings import COLUMNS, RENORMALISED, Settings
from thinnet.ops.reference import WORD, philox

ATTENTION = 0x417474656E74696F  # "Attentio" in ASCII


def subkeys(seed: Tensor, site: Tensor, heads: Tensor) -> tuple[Tensor, Tensor]:
    """Returns both words of the subkey of each head, `(H,)`."""
    seed, zero = seed ^ ATTENTION, torch.zeros_like(heads)
    words = philox((heads & WORD, zero, zero, site & WORD), (seed & WORD, (seed >> 32) & WORD))
    return words[0], words[1]


def weight_bits(s: Settings, batch: int, heads: int, queries: Tensor, first_key: Tensor, keys: int) -> Tensor:
    """Returns the 16 random bits of each weight, `(B, H, T, S)`.

    Args:
        queries: the positions of the queries, `(B, T)` or `(1, T)`.
        first_key: the position of the first key, `(B,)` or `(1,)`.
        keys: S.
    """
    device, zero = queries.device, torch.zeros((), dtype=torch.int64, device=queries.device)
    numbers = torch.arange(heads, device=device) if s.heads is None else s.heads
    key = tuple(word[:, None, None] for word in subkeys(s.seed, zero if s.site is None else s.site, numbers))
    samples = sample_ids(s, batch, device)[:, None, None, None]
    first = torch.div(first_key, 128, rounding_mode="floor")
    segments = keys // 128 + 2
    blocks = 16 * first[:, None] + torch.arange(16 * segments, device=device)
    step = zero if s.step is None else s.step.reshape(-1, 1, 1, 1)
    rows = torch.zeros_like(queries[:, :1]) if s.options & COLUMNS else queries
    counter = blocks[:, None, None] & WORD, samples & WORD, step & WORD, rows[:, None, :, None] & WORD
    words = torch.stack(torch.broadcast_tensors(*philox(counter, key)), -1)  # type: ignore[arg-type]
    words = words.unflatten(3, (segments, 16)).transpose(4, 5)
    bits = torch.stack((words & 0xFFFF, words >> 16), -1).flatten(3)
    places = (first_key - 128 * first)[:, None] + torch.arange(keys, device=device)
    return bits.take_along_dim(places[:, None, None], -1).expand(batch, heads, queries.shape[1], keys)


def sample_ids(s: Settings, batch: int, device: torch.device) -> Tensor:
    """Returns the id of each sample, `(B,)`."""
    if s.samples is not None and s.samples.numel() == batch:
        return s.samples.reshape(batch)
    rows = torch.arange(batch, device=device)
    return rows if s.samples is None else s.samples.reshape(()) + rows


def first_of(first: Tensor | None, device: torch.device) -> Tensor:
    """Returns first positions as a tensor of one axis."""
    return torch.zeros(1, dtype=torch.int64, device=device) if first is None else first.reshape(-1)


def kept_weights(s: Settings, batch: int, heads: int, queries: int, keys: int, device: torch.device) -> Tensor:
    """Returns which weights are kept, `(B, H, T, S)`, bool."""
    rows = first_of(s.first_query, device)[:, None] + torch.arange(queries, device=device)
    return weight_bits(s, batch, heads, rows, first_of(s.first_key, device), keys) >= s.rate


def _allowed(s: Settings, queries: int, keys: int, device: torch.device) -> Tensor:
    """Returns which keys the window leaves to a query, `(B or 1, 1, T, S)`, bool."""
    rows = first_of(s.first_query, device)[:, None, None] + torch.arange(queries, device=device)[:, None]
    columns = first_of(s.first_key, device)[:, None, None] + torch.arange(keys, device=device)
    ahead = columns - rows
    allowed = torch.ones_like(ahead, dtype=torch.bool)
    if s.left >= 0:
        allowed = allowed & (ahead >= -s.left)
    if s.right >= 0:
        allowed = allowed & (ahead <= s.right)
    return allowed[:, None]


def logits(q: Tensor, k: Tensor, s: Settings) -> Tensor:
    """Returns the input of the softmax, `(B, H, T, S)`, in at least float32: -inf where a query may not attend."""
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    wide = torch.promote_types(q.dtype, torch.float32)
    z = (q.to(wide) * s.scale) @ k.to(wide).transpose(-2, -1)
    if s.mask is not None:
        z = z.where(s.mask, -torch.inf) if s.mask.dtype == torch.bool else z + s.mask
    return z.where(_allowed(s, q.shape[2], k.shape[2], q.device), -torch.inf) if s.left >= 0 or s.right >= 0 else z


def _head_factor(s: Settings, z: Tensor) -> Tensor:
    """Returns the factor of the kept weights of each head, `(B or 1, H or 1, 1, 1)`; a head of factor 0 is dropped."""
    dropped = s.rate.to(z.dtype)
    scale = (
        torch.ones_like(dropped) if s.options & RENORMALISED else torch.where(dropped == 65536, 0, 65536 / (65536 - dropped))
    )
    return scale.reshape(1, 1, 1, 1) if s.head_scale is None else scale * s.head_scale[..., None, None]


def _noisy(z: Tensor, s: Settings) -> tuple[Tensor, Tensor]:
    """Returns the logits that the softmax reads, and the factor of each weight behind it."""
    kept = kept_weights(s, *z.shape, z.device)  # pyright: ignore[reportCallIssue]
    factor = _head_factor(s, z).expand_as(z)
    if s.options & RENORMALISED:
        nothing = ~(kept & (z > -torch.inf)).any(-1, keepdim=True)
        return z.where(kept | nothing, -torch.inf), factor
    return z, torch.where(kept, factor, 0)


def _dense_forward(q: Tensor, k: Tensor, v: Tensor, s: Settings) -> tuple[Tensor, Tensor]:
    z, factor = _noisy(logits(q, k, s), s)
    lse = z.logsumexp(-1)
    weights = (z - lse.where(lse > -torch.inf, 0)[..., None]).exp()
    weights = torch.where(factor == 0, 0, weights * factor)
    v = v.repeat_interleave(q.shape[1] // v.shape[1], 1)
    return (weights @ v.to(weights.dtype)).to(q.dtype), torch.where(_head_factor(s, z)[..., 0] == 0, 0, lse)


def forward(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """Returns the attention `(B, H, T, E)` and the log-sum-exp of its logits `(B, H, T)`; autograd differentiates the first."""
    s = Settings(*rest)
    if s.query_starts is None:
        return _dense_forward(q, k, v, s)
    parts = [_dense_forward(*part) for part in packed_parts((q,), (k, v), s)]
    return torch.cat([y for y, _ in parts], 2), torch.cat([lse for _, lse in parts], 2)


def packed_parts(of_queries: tuple[Tensor, ...], of_keys: tuple[Tensor, ...], s: Settings) -> list[tuple[Any, ...]]:
    """Returns, for each packed sequence, its parts of the tensors and its settings."""
    assert s.query_starts is not None and s.key_starts is not None
    device, rows, columns = of_queries[0].device, s.query_starts.tolist(), s.key_starts.tolist()
    ids, parts = sample_ids(s, len(rows) - 1, device), []
    for i in range(len(rows) - 1):
        step = None if s.step is None else _one(s.step.reshape(-1), i)
        mine = s._replace(step=step, samples=ids[i : i + 1], query_starts=None, key_starts=None)
        mine = mine._replace(
            first_query=_one(s.first_query, i), first_key=_one(s.first_key, i), head_scale=_one(s.head_scale, i)
        )
        queries = (x[:, :, rows[i] : rows[i + 1]] for x in of_queries)
        parts.append((*queries, *(x[:, :, columns[i] : columns[i + 1]] for x in of_keys), mine))
    return parts


def _one(values: Tensor | None, i: int) -> Tensor | None:
    return values if values is None or values.shape[:1].numel() == 1 else values[i : i + 1]


def _dense_backward(
    dy: Tensor, q: Tensor, y: Tensor, lse: Tensor, k: Tensor, v: Tensor, s: Settings
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    group = q.shape[1] // k.shape[1]
    z, factor = _noisy(logits(q, k, s), s)
    p = (z - lse.where(lse > -torch.inf, 0)[..., None]).exp()
    dy, y = dy.to(p.dtype), y.to(p.dtype)
    dv = (p * factor).transpose(-2, -1) @ dy
    dp = torch.where(factor == 0, 0, dy @ v.repeat_interleave(group, 1).to(p.dtype).transpose(-2, -1) * factor)
    dz = p * (dp - (dy * y).sum(-1, keepdim=True))
    dq = dz @ k.repeat_interleave(group, 1).to(p.dtype) * s.scale
    dk = dz.transpose(-2, -1) @ q.to(p.dtype) * s.scale
    dk, dv = (x.unflatten(1, (-1, group)).sum(2) for x in (dk, dv))
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), dz


def backward(dy: Tensor, y: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    """Returns the gradients in q, k, v and the logits, the last one empty unless it is asked for."""
    *settings, of_logits = rest
    s = Settings(*settings)
    if s.query_starts is None:
        dq, dk, dv, dz = _dense_backward(dy, q, y, lse, k, v, s)
        return dq, dk, dv, dz if of_logits else dz.new_empty(0)
    parts = [_dense_backward(*part) for part in packed_parts((dy, q, y, lse), (k, v), s)]
    return *(torch.cat([part[i] for part in parts], 2) for i in range(3)), lse.new_empty(0)
