"""Attention of DTensors: each rank computes the samples, heads and queries that it has, with the masks of the whole."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thinnet.ops import dtensor
from thinnet.rng import NoiseKey

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

Parts = tuple[NoiseKey | None, Tensor, Tensor, Tensor, dict[str, Any]]


def local_parts(key: NoiseKey | None, q: "DTensor", k: "DTensor", v: "DTensor", options: dict[str, Any]) -> Parts:
    """Returns the key, q, k, v and the options of `attend` for the part of q on this rank.

    Keys and values are brought to the ranks whose samples and heads they serve.

    Raises: ValueError where q is no `(B, H, T, D)`; TypeError where it is cut along D, or placed by other than `Shard` and
        `Replicate`.
    """
    from torch.distributed.tensor import Partial, Replicate, Shard

    function = "attention" if key is None else key.function
    if q.ndim != 4:
        raise ValueError(f"{function}: a DTensor must be (B, H, T, D); got shape {tuple(q.shape)}. Call q.unsqueeze(1) first.")
    first = dtensor.starts(q, function)
    if Shard(3) in q.placements:
        raise TypeError(f"{function}: q must not be cut along its features; got {q.placements}. Cut the heads, axis 1.")
    group = q.shape[1] // k.shape[1]
    whole: list[Any] = [x.repeat_interleave(group, 1) if group > 1 else x for x in (k, v)]  # cut as the heads of q are
    theirs = [Replicate() if place == Shard(2) else place for place in q.placements]
    summed = [Partial() if place == Shard(2) else place for place in q.placements]  # each rank has a part of their gradients
    local = q.to_local()
    keys, values = (x.redistribute(placements=theirs).to_local(grad_placements=summed) for x in whole)
    options = dict(options)
    if key is not None:
        here = dtensor.address_of(q, (key.rate, *key.address), first[0], len(local))
        key = replace(key, **dict(zip(("rate", "seed", "step", "site", "samples"), here, strict=True)))
        options["heads"] = first[1] + torch.arange(local.shape[1], device=local.device)
    if Shard(2) in q.placements:
        options["first_query"] = first[2]
    if options.get("mask") is not None:
        options["mask"] = _rows(options["mask"], q.shape, first, local.shape)
    return key, local, keys, values, options


def _rows(mask: Tensor, whole: torch.Size, first: list[int], here: torch.Size) -> Tensor:
    """Returns the rows of a mask for the samples, heads and queries of this rank."""
    mask = mask.full_tensor() if dtensor.is_sharded(mask) else mask  # type: ignore[attr-defined]
    mask = mask.expand(*whole[:3], mask.shape[-1])
    for axis in range(3):
        mask = mask.narrow(axis, first[axis], here[axis])
    return mask


def placed_as(q: "DTensor", y: Tensor) -> Tensor:
    """Returns the DTensor whose part on this rank is `y`, placed as the queries are, of the width of `y`."""
    from torch.distributed.tensor import DTensor

    shape, stride, size = torch.Size((*q.shape[:3], y.shape[3])), [0] * 4, 1
    for axis in sorted(range(4), key=lambda axis: (y.stride(axis), -axis)):
        stride[axis], size = size, size * shape[axis]
    return DTensor.from_local(y, q.device_mesh, q.placements, run_check=False, shape=shape, stride=tuple(stride))
