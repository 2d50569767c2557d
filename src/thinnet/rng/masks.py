"""The mask of an address, without running the model."""

import math
from typing import Literal

import torch
from torch import Tensor

from thinnet.ops import reference
from thinnet.ops.attention.reference import kept_weights
from thinnet.ops.attention.settings import Settings
from thinnet.rng import rates
from thinnet.rng.names import check_shape

MaskKind = Literal["elements", "attention"]


def drawn_mask(
    kind: MaskKind, p: float, key: tuple[Tensor, Tensor, Tensor, Tensor], shape: tuple[int, ...], start: tuple[int, ...]
) -> Tensor:
    """Returns the mask of some samples, `(N, *shape)`.

    Args:
        key: seed, step, site and sample ids.
        start: for attention, the first head, query and key.
    """
    shape, ids = check_shape("DropoutRNG.mask", shape), key[3]
    if kind == "elements":
        if any(start):
            raise ValueError(f'DropoutRNG.mask: start must be left out unless kind="attention"; got {start}.')
        return (reference.unit_bits(*key, math.prod(shape)) >= rates.count(p)).reshape(len(ids), *shape)
    if kind != "attention":
        raise ValueError(f'DropoutRNG.mask: kind must be "elements" or "attention"; got {kind!r}.')
    if len(shape) != 3 or len(start) != 3:
        raise ValueError(f"DropoutRNG.mask: shape and start must be heads, queries, keys; got {shape} and {start}.")
    first = [torch.tensor(number) for number in start]
    settings = Settings(
        *(None, rates.tensor(p, ids.device), *key[:3], ids, first[0] + torch.arange(shape[0]), None),
        *(first[1], first[2], None, None, 1.0, -1, -1, 0),
    )
    return kept_weights(settings, len(ids), *shape, ids.device)
