"""Loss and accuracy of what a model returns, one number a sample where the loss can say it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Score:
    """A mean loss over samples, its standard error where the loss gives one number a sample, and the accuracy of classes."""

    loss: float
    error: float | None
    accuracy: float | None


def predicted(out: Any) -> Tensor:
    """Returns the prediction in what a model returned: its `logits`, or its first floating tensor."""
    held = getattr(out, "logits", None)
    if isinstance(held, Tensor):
        return held
    leaves = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not leaves:
        raise TypeError(f"diagnose: the model must return a tensor, or hold one in what it returns; got {type(out).__name__}.")
    return leaves[0]


def default_loss(out: Any, target: Tensor) -> Tensor:
    """Returns the loss of each sample, `(B,)`: cross entropy for integer targets, mean square for floats.

    Raises:
        ValueError: prediction and target do not fit.

    >>> default_loss(torch.zeros(1, 4), torch.tensor([2])), default_loss(torch.ones(1, 2), torch.tensor([[1.0, 3.0]]))
    (tensor([1.3863]), tensor([2.]))
    """
    prediction = predicted(out)
    if target.is_floating_point():
        if prediction.numel() != target.numel() or len(prediction) != len(target):
            raise ValueError(_misfit(prediction, target))
        return (prediction.reshape(target.shape) - target).square().reshape(len(target), -1).mean(1)
    losses = F.cross_entropy(_classes_second(prediction, target), target.long(), reduction="none")
    return losses.reshape(len(target), -1).mean(1)


def hits(out: Any, target: Any) -> Tensor | None:
    """Returns the share of right classes of each sample, `(B,)`; None where the target is no class."""
    if not isinstance(target, Tensor) or target.is_floating_point():
        return None
    try:
        logits = _classes_second(predicted(out), target)
    except ValueError:
        return None
    right = (logits.argmax(1) == target).float()
    return right.reshape(len(target), -1).mean(1)


def combined(parts: Sequence[tuple[int, Tensor, Tensor | None]]) -> Score:
    """Returns the score of chunks: how many samples, loss (one number a sample, or one), and hits (one a sample, or None)."""
    count = sum(size for size, *_ in parts)
    loss = sum(float(losses.double().mean()) * size for size, losses, _ in parts) / count
    error = None
    if all(losses.shape == (size,) for size, losses, _ in parts) and count > 1:
        error = float(torch.cat([losses.double() for _, losses, _ in parts]).std() / count**0.5)
    right = [found for *_, found in parts if found is not None]
    accuracy = float(torch.cat(right).double().mean()) if right else None
    return Score(loss, error, accuracy)


def _classes_second(prediction: Tensor, target: Tensor) -> Tensor:
    """Returns the logits with the classes on axis 1, wherever they are: behind the target's axes, or on axis 1."""
    if prediction.ndim == target.ndim + 1 and prediction.numel() > target.numel():
        if prediction.shape[:-1] == target.shape:
            return prediction.movedim(-1, 1)
        if prediction.shape[:1] + prediction.shape[2:] == target.shape:
            return prediction
    raise ValueError(_misfit(prediction, target))


def _misfit(prediction: Tensor, target: Tensor) -> str:
    return (
        "diagnose: loss must fit prediction and target; the default, cross entropy for integers and mean square for floats,"
        f" got {tuple(prediction.shape)} and {tuple(target.shape)} of {target.dtype}. Give loss=lambda out, y: ...."
    )
