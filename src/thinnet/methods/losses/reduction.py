"""Helpers of the losses of several passes: finite log predictions, and reductions without padding."""

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]


def log_predictions(logits: Tensor, axis: int) -> Tensor:
    """Returns log softmax over the classes, in float32 or better; logits of -inf give the least finite number."""
    wide = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    return torch.log_softmax(wide, axis).clamp(min=torch.finfo(wide.dtype).min)


def reduce(loss: Tensor, reduction: Reduction, counted: Tensor | None = None) -> Tensor:
    """Returns mean or sum of a loss over its positions, or the loss itself; positions that are not `counted` are excluded."""
    if counted is not None:
        loss = torch.where(counted, loss, 0)
    if reduction == "none":
        return loss
    places = loss.numel() if counted is None else counted.sum()
    return loss.sum() / places if reduction == "mean" else loss.sum()


def check(function: str, reduction: object, **weights: float) -> None:
    """Raises ValueError for an unknown reduction, or a weight that is negative or not finite."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{function}: reduction must be 'mean', 'sum' or 'none'; got {reduction!r}. 'mean' is common.")
    for name, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise ValueError(f"{function}: {name} must be at least 0 and finite; got {weight!r}. 0 leaves the penalty out.")


def check_pair(function: str, first: Tensor, second: Tensor) -> None:
    """Raises ValueError unless both predictions have one shape, `(N, C, ...)`."""
    if first.shape != second.shape or first.ndim < 2:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"{function}: first and second must have one shape, (N, C, ...); got {shapes}. Classes are axis 1.")


def counted(target: Tensor, ignore_index: int) -> Tensor | None:
    """Returns which positions have a class and are not padding; None if the targets are probabilities."""
    return None if target.is_floating_point() else target != ignore_index
