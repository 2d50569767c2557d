"""Attention of sequences in a jagged nested tensor, which are packed already: its values follow each other."""

import torch
from torch import Tensor


def is_jagged(x: Tensor) -> bool:
    """Returns whether a tensor is nested, in the layout whose sequences share their memory."""
    return x.layout is torch.jagged


def packed(function: str, q: Tensor, k: Tensor, v: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Returns nested queries, keys and values as packed sequences, `(1, H, rows of all, D)`, and where each begins.

    Raises: TypeError if one of them is not nested; ValueError if rows lie between its sequences, or keys and values differ.
    """
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not is_jagged(x):
            raise TypeError(
                f"{function}: q, k and v must all be nested; got {name} of {x.layout}. Nest it too, or pad the others."
            )
        if x.ndim != 4 or x._ragged_idx != 2:  # type: ignore[attr-defined]
            step = "Transpose it: x.transpose(1, 2)."
            raise ValueError(f"{function}: {name} must be (B, H, T, D) with lengths on axis 2; got {tuple(x.shape)}. {step}")
        if x.lengths() is not None:  # type: ignore[attr-defined]
            raise ValueError(f"{function}: {name} must have no rows between its sequences; got some. Call {name}.contiguous().")
    starts, of_values = k.offsets(), v.offsets()  # type: ignore[attr-defined]
    if starts is not of_values and not torch.equal(starts, of_values):
        raise ValueError(
            f"{function}: k and v must have the same lengths; got {starts.diff().tolist()}, {of_values.diff().tolist()}."
        )
    return tuple(x.values()[None] for x in (q, k, v)), {"query_starts": q.offsets(), "key_starts": starts}  # type: ignore[attr-defined]


def nested(y: Tensor, like: Tensor) -> Tensor:
    """Returns packed sequences `(1, H, rows of all, E)` as a nested tensor with the lengths of another, `(B, H, T, E)`."""
    offsets = like.offsets()  # type: ignore[attr-defined]
    return torch.nested.nested_tensor_from_jagged(y[0].transpose(0, 1), offsets=offsets).transpose(1, 2)
