"""Ring attention with dropout: each rank has a part of the sequence, and keys and values go around.

The mask of a weight depends on the positions of its query and key alone, so a rank draws the mask of any block by itself, and
the ranks together have the masks of one device.
"""

from itertools import product
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from thinnet.distributed.exchange import Exchange, agree
from thinnet.methods.call import draw_key
from thinnet.ops.attention import Settings, schema
from thinnet.ops.attention.call import check
from thinnet.ops.part import Order, Part
from thinnet.rng import NoiseKey, Site, rates


def part_of(rows: int, axis: int, order: Order, group: dist.ProcessGroup | None, rank: int | None = None) -> Part:
    """Returns which part of a sequence a rank has; this one if None. Refuses rows that its order cannot cut."""
    if order not in ("contiguous", "zigzag"):
        raise ValueError(f'ring_attention: order must be "contiguous" or "zigzag"; got {order!r}.')
    if order == "zigzag" and rows % 2:
        raise ValueError(f"ring_attention: each rank must have an even number of rows in zigzag order; got {rows}. Pad by one.")
    return Part(axis, dist.get_rank(group) if rank is None else rank, dist.get_world_size(group), order)


def ring_positions(length: int, *, order: Order = "contiguous", group: dist.ProcessGroup | None = None) -> Tensor:
    """Returns the positions of this rank's rows in a sequence, `(length / ranks,)`, int64.

    They select the rows of this rank, `x.index_select(1, positions)`, and are what its position embeddings need.

    Args:
        length: of the whole sequence, a multiple of the number of ranks, or of twice that number in zigzag order.
        order: as in `ring_attention`.
        group: the ranks; all ranks if None.

    Raises: ValueError if the length is no such multiple.
    """
    ranks = dist.get_world_size(group)
    if length % (ranks * (2 if order == "zigzag" else 1)):
        raise ValueError(f"ring_positions: length must be a multiple of the parts of {ranks} ranks; got {length}. Pad it.")
    return part_of(length // ranks, 1, order, group).positions(length // ranks)


def ring_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    p: float | Tensor | Site,
    training: bool,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    window: tuple[int | None, int | None] = (None, None),
    order: Order = "contiguous",
    group: dist.ProcessGroup | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Attention with dropout over a sequence that the ranks of a group share: `thinnet.functional.attention` of the whole.

    Keys and values go from rank to rank while each rank computes; backward sends their gradients along. Masks are those of one
    device, so the result does not depend on the number of ranks. Every rank calls it with the rows of the same samples.

    Args:
        q: the queries of this rank, `(B, H, T, D)`, as many on each rank.
        k: its keys, `(B, H, T, D)`.
        v: its values, `(B, H, T, E)`.
        p: probability that a weight is dropped, or an `AttentionDropout` site, whose rate and address then count.
        training: whether to drop.
        is_causal: whether a query attends to the positions up to its own only.
        scale: factor of the logits; 1 / sqrt(D) if None.
        enable_gqa: whether k and v may have fewer heads than q.
        window: how many positions before and behind its own a query attends to; None for all.
        order: "contiguous", or "zigzag", in which rank r of R has the parts r and 2 R - 1 - r of 2 R: then causal attention is
            the same work for all ranks. See `ring_positions`.
        group: the ranks; all ranks if None.
        generator: source of the seed of the first rank; by default torch's generator of the device.

    Returns: `(B, H, T, E)`.

    Raises: ValueError if shapes do not fit, or the order is neither.

    Source: Liu, Zaharia, Abbeel 2023, arXiv:2310.01889; Brandon et al. 2023, arXiv:2311.09431 (an order that balances).
    """
    check("ring_attention", q, k, v, None, None)
    if not enable_gqa and q.shape[1] != k.shape[1]:
        got = f"{q.shape[1]} and {k.shape[1]}. Set enable_gqa=True"
        raise ValueError(f"ring_attention: q and k must have as many heads; got {got}.")
    if q.shape[2] != k.shape[2]:
        raise ValueError(f"ring_attention: q and k must have as many rows; got {q.shape[2]} and {k.shape[2]}.")
    if q.dtype not in schema.FAST:
        raise TypeError(f"ring_attention: q must be float32, bfloat16 or float16; got {q.dtype}. Call q.float() first.")
    part_of(q.shape[2], 2, order, group)  # refuses what cannot be cut before a message is on its way
    left, right = (-1 if size is None else size for size in window)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    settings = _settings(q, p, training, group, generator)
    settings = settings._replace(scale=scale, left=left, right=0 if is_causal else right)
    return _Ring.apply(q, k, v, settings, order, group)  # type: ignore[return-value]


def _settings(
    q: Tensor, p: float | Tensor | Site, training: bool, group: dist.ProcessGroup | None, generator: torch.Generator | None
) -> Settings:
    """Returns the settings of the whole sequence, without window and scale."""
    zero = torch.zeros((), dtype=torch.int64, device=q.device)
    if isinstance(p, Site):
        key = p.key(q) if training else None
    else:
        key = draw_key("ring_attention", q, p, training, generator)
    if key is None:
        key = NoiseKey("ring_attention", rates.tensor(0.0, q.device), zero)
    elif key.step is None:  # without an address the ranks agree on a seed
        key.seed = agree(key.seed, group)
    return Settings(None, key.rate, *key.address, *[None] * 6, 1.0, -1, -1, 0)  # pyright: ignore[reportCallIssue]


class _Ring(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, settings: Settings, order: Order, group: Any) -> Tensor:
        ctx.where = settings, order, group
        y = q.new_zeros((*q.shape[:3], v.shape[3]), dtype=torch.float32)
        lse = q.new_full(q.shape[:3], -torch.inf, dtype=torch.float32)
        for keys, (k_now, v_now) in _turns([k, v], group):
            for mine, theirs, here in _blocks(q.shape[2], keys, settings, order, group):
                part = schema.op(q[:, :, mine], k_now[:, :, theirs], v_now[:, :, theirs], *here)
                _merge(y[:, :, mine], lse[:, :, mine], *part)
        y = y.to(q.dtype)
        ctx.save_for_backward(q, k, v, y, lse)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        q, k, v, y, lse = ctx.saved_tensors
        settings, order, group = ctx.where
        dq, dk, dv = (torch.zeros_like(x, dtype=torch.float32) for x in (q, k, v))
        home = [k, v, dk, dv]
        for keys, (k_now, v_now, dk_now, dv_now) in _turns(home, group, back=True):
            for mine, theirs, here in _blocks(q.shape[2], keys, settings, order, group):
                rows = (x[:, :, mine] for x in (dy, y, lse, q))
                parts = schema.op_backward(*rows, k_now[:, :, theirs], v_now[:, :, theirs], *here, False)
                for total, part in zip((dq[:, :, mine], dk_now[:, :, theirs], dv_now[:, :, theirs]), parts, strict=False):
                    total += part
        _, _, dk, dv = home
        return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), None, None, None


def _turns(tensors: list[Tensor], group: Any, back: bool = False) -> Any:
    """Yields the rank whose tensors are here, and the tensors, which then go on to the next rank.

    Args:
        tensors: those of this rank. With `back` they change on their way, and come home at the end, into this list.
    """
    rank, ranks, now = dist.get_rank(group), dist.get_world_size(group), tensors
    for turn in range(ranks):
        last = turn == ranks - 1
        sending = Exchange(now, group) if not last and not back else None
        yield (rank - turn) % ranks, now
        if back and ranks > 1:
            now = Exchange(now, group).wait()
        elif sending is not None:
            now = sending.wait()
    if back:
        tensors[:] = now


def _blocks(rows: int, keys_of: int, settings: Settings, order: Order, group: Any) -> Any:
    """Yields slices of the queries here and of the keys of another rank that meet, and the settings of the block."""
    here, there = part_of(rows, 2, order, group), part_of(rows, 2, order, group, keys_of)
    for mine, theirs in product(here.pieces(rows), there.pieces(rows)):
        ahead = theirs.first - mine.first  # of the first key, seen from the first query
        least, most = ahead - (mine.end - mine.begin - 1), ahead + (theirs.end - theirs.begin - 1)
        if (settings.right < 0 or least <= settings.right) and (settings.left < 0 or most >= -settings.left):
            first = (torch.full((), piece.first, device=settings.rate.device) for piece in (mine, theirs))
            placed = settings._replace(**dict(zip(("first_query", "first_key"), first, strict=True)))
            yield slice(mine.begin, mine.end), slice(theirs.begin, theirs.end), placed


def _merge(y: Tensor, lse: Tensor, part: Tensor, of_part: Tensor) -> None:
    """Adds the attention to more keys to that to others, in place: each weighs what its log-sum-exp says."""
    both = torch.logaddexp(lse, of_part)
    whole = both.where(both > -torch.inf, 0)
    y.mul_((lse - whole).exp()[..., None]).add_(part.float() * (of_part - whole).exp()[..., None])
    lse.copy_(both)
