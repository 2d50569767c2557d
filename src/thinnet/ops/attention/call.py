"""The entry point `attention`: brings the arguments into the form of the operation, and checks them."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from thinnet.ops.attention import schema
from thinnet.ops.attention.settings import BACKEND, COLUMNS, RENORMALISED, Settings
from thinnet.ops.units import plain

LEAST = 64  # queries, and keys, from which the kernel is faster than PyTorch's: see `is_faster`
PATHS = {"auto": 0, "avx512": 1, "avx2": 2, "baseline": 3, "neon": 3}


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rate: Tensor,
    seed: Tensor,
    *,
    step: Tensor | None = None,
    site: Tensor | None = None,
    samples: Tensor | None = None,
    heads: Tensor | None = None,
    mask: Tensor | None = None,
    head_scale: Tensor | None = None,
    first_query: Tensor | int | None = None,
    first_key: Tensor | int | None = None,
    query_starts: Tensor | None = None,
    key_starts: Tensor | None = None,
    scale: float | None = None,
    window: tuple[int | None, int | None] = (None, None),
    renormalised: bool = False,
    columns: bool = False,
    function: str = "attention",
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Returns attention with dropout of its weights, and the log-sum-exp of its logits.

    Args:
        q: `(B, H, T, D)`.
        k: `(B, G, S, D)`; G divides H, and each of its heads serves H / G heads of q.
        v: `(B, G, S, E)`.
        rate: the rate in 65536ths, a 0-d int32 tensor on the device of q.
        seed: a 0-d int64 tensor, like `step` and `site`, which are 0 where they are left out.
        samples, heads, head_scale, first_query, first_key, query_starts, key_starts: see `Settings`.
        mask: broadcasts to `(B, H, T, S)`; bool, True where a query may attend, or numbers that are added to the logits.
        scale: factor of the logits; 1 / sqrt(D) if None.
        window: how many positions before and behind its own a query attends to; None for all.
        renormalised: whether dropped weights leave the softmax; otherwise the others are scaled by 1 / (1 - p) after it.
        columns: whether all queries of a head lose the same keys.
        function: the name that an error gives.
        backend: "auto", or one of `thinnet.ops.backends()["cpu"]`, or "reference"; for tests and benchmarks.
    """
    check(function, q, k, v, query_starts, key_starts)
    if mask is not None:
        if query_starts is not None:
            raise ValueError(f"{function}: mask must be left out for packed sequences; got both. Use is_causal or window.")
        mask = mask.expand(*q.shape[:3], k.shape[2])
    left, right = (-1 if size is None else size for size in window)
    options = RENORMALISED * renormalised + COLUMNS * columns + BACKEND * (0 if backend == "reference" else PATHS[backend])
    settings = Settings(  # pyright: ignore[reportCallIssue]
        *(mask, rate, seed, step, site, samples, heads, head_scale),
        *(_positions(first, q) for first in (first_query, first_key)),
        *(query_starts, key_starts, q.shape[-1] ** -0.5 if scale is None else scale, left, right, options),
    )
    if backend == "reference":
        return schema.reference.forward(q, k, v, *settings)
    return schema.call(q, k, v, settings)


def _positions(first: Tensor | int | None, q: Tensor) -> Tensor | None:
    if first is None or isinstance(first, Tensor):
        return first
    return torch.full((), first, dtype=torch.int64, device=q.device) if first else None


def is_faster(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Returns whether the kernel beats PyTorch's where nothing drops, forward alone and with backward.

    On one core with AVX-512 it takes 0.9 of PyTorch's time at 64 queries and keys, 0.6 at 256 and 0.5 at 512, causal 0.3; at 16
    it takes 2.4 times as long, and so does a single query. benchmarks/attention.py measures it.
    """
    dense = all(plain(x) for x in (q, k, v))
    return dense and q.dtype in schema.FAST and min(q.shape[-2], k.shape[-2]) >= LEAST and _has_vectors()


@cache
def _has_vectors() -> bool:
    return torch.ops.thinnet.cpu_path() in ("avx512", "avx2")


def check(function: str, q: Tensor, k: Tensor, v: Tensor, query_starts: Tensor | None, key_starts: Tensor | None) -> None:
    """Refuses what the kernels cannot take, before anything is drawn.

    Raises: TypeError for a dtype or a layout; ValueError for shapes that do not fit.
    """
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not x.is_floating_point() or x.layout != torch.strided:
            raise TypeError(f"{function}: {name} must be a dense floating-point tensor; got {x.dtype}, {x.layout}.")
        if x.dtype != q.dtype:
            raise TypeError(
                f"{function}: q, k and v must have one dtype; got {q.dtype} and {x.dtype}. Call {name}.to(q.dtype)."
            )
    shapes: list[Any] = [tuple(x.shape) for x in (q, k, v)]
    same = k.shape[:3] == v.shape[:3] and q.shape[0] == k.shape[0] and q.shape[3] == k.shape[3]
    if not same or k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        rule = "q, k and v must be (B, H, T, D), (B, G, S, D) and (B, G, S, E), where G divides H"
        raise ValueError(f"{function}: {rule}; got {shapes}.")
    if (query_starts is None) != (key_starts is None) or (query_starts is not None and q.shape[0] != 1):
        rule = "packed sequences need the starts of queries and of keys, and a batch of 1"
        raise ValueError(f"{function}: {rule}; got shape {shapes[0]}. Pass both, and q as (1, H, T, D).")
    for name, starts, x in (("query_starts", query_starts, q), ("key_starts", key_starts, k)):
        if starts is not None and plain(x) and plain(starts) and (int(starts[0]), int(starts[-1])) != (0, x.shape[2]):
            rule = f"{name} must begin with 0 and end with the {x.shape[2]} rows"
            raise ValueError(f"{function}: {rule}; got {int(starts[0])} and {int(starts[-1])}. Slice the rows first.")
