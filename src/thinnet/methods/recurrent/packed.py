"""Converts packed sequences to a padded tensor in batch order, in which addressed masks count samples, and back."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


def padded(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """Returns `(T, B, D)` in batch order, and the lengths.

    >>> from torch.nn.utils.rnn import pack_sequence
    >>> padded(pack_sequence([torch.ones(1, 2), torch.ones(3, 2)], enforce_sorted=False))[1].tolist()
    [1, 3]
    """
    return pad_packed_sequence(packed)


def repacked(x: Tensor, lengths: Tensor, packed: PackedSequence) -> PackedSequence:
    """Returns `(T, B, D)` packed like `packed`."""
    order = packed.sorted_indices
    if order is not None:
        x, lengths = x.index_select(1, order), lengths[order.cpu()]
    return packed._replace(data=pack_padded_sequence(x, lengths).data)


def ended(x: Tensor, lengths: Tensor) -> Tensor:
    """Returns where a sequence of `(T, B, D)` has ended: bool, `(T, B, 1)`."""
    steps = torch.arange(len(x), device=x.device)
    return (steps[:, None] >= lengths.to(x.device))[..., None]
