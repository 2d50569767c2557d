"""Finds test cases that are validation cases, too: a fit must not see them."""

from collections import Counter
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from thinnet.inference.monte_carlo.prediction import Prediction


def cases(x: Any, y: Tensor) -> Counter[bytes]:
    """Returns how often each case occurs: a digest of its inputs, or of its draws, and of its observation.

    >>> len(cases(torch.tensor([[1.0], [1.0], [2.0]]), torch.tensor([0, 0, 0])))
    2
    """
    parts = [x.draws.transpose(0, 1)] if isinstance(x, Prediction) else tree_leaves(x)
    parts = [part for part in (*parts, y) if isinstance(part, Tensor) and part.ndim and len(part) == len(y)]
    rows = [part.detach().cpu().reshape(len(y), -1).contiguous().view(torch.uint8).numpy() for part in parts]
    return Counter(blake2b(b"".join(row[k].tobytes() for row in rows), digest_size=16).digest() for k in range(len(y)))


def shared(one: Counter[bytes], other: Counter[bytes]) -> int:
    """Returns how many cases of `one` are among those of `other`."""
    return sum(count for case, count in one.items() if case in other)
