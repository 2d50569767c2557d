"""Loss and accuracy per sample, and the gap between training and held-out data.

A training loop prints the loss with dropout on, which is higher than that of the deployed network. The held-out loss minus that
loss is not the gap, and may well be negative.
"""

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
    """The mean loss over samples, its standard error if the loss gives one number per sample, and the accuracy of classes."""

    loss: float
    error: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Gap:
    """Losses and accuracies, with standard errors over samples if the loss gives one number per sample.

    Args:
        train: training data in eval mode.
        dropout_on: the same samples with dropout on, averaged over draws.
        held_out: held-out data in eval mode; None without such data.
    """

    train: Score
    dropout_on: Score
    held_out: Score | None

    @property
    def gap(self) -> float | None:
        """Held-out loss minus training loss, both in eval mode."""
        return None if self.held_out is None else self.held_out.loss - self.train.loss

    @property
    def naive(self) -> float | None:
        """Held-out loss minus training loss with dropout on, as a training loop shows it."""
        return None if self.held_out is None else self.held_out.loss - self.dropout_on.loss

    @property
    def error(self) -> float | None:
        """The standard error of `gap`; the two sets of samples are independent."""
        if self.held_out is None or self.held_out.error is None or self.train.error is None:
            return None
        return (self.held_out.error**2 + self.train.error**2) ** 0.5

    @property
    def price(self) -> float:
        """The cost of dropout on the training samples: loss with dropout on minus loss in eval mode."""
        return self.dropout_on.loss - self.train.loss


def predicted(out: Any) -> Tensor:
    """Returns the prediction in the output of a model: its `logits`, or its first floating-point tensor."""
    held = getattr(out, "logits", None)
    if isinstance(held, Tensor):
        return held
    leaves = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not leaves:
        raise TypeError(f"diagnose: the model must return a floating-point tensor or hold one; got {type(out).__name__}.")
    return leaves[0]


def default_loss(out: Any, target: Tensor) -> Tensor:
    """Returns the loss per sample, `(B,)`: cross entropy for integer targets, mean squared error for floats.

    Raises:
        ValueError: prediction and target differ in shape.

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
    """Returns the fraction of right classes per sample, `(B,)`; None if the targets are not classes."""
    if not isinstance(target, Tensor) or target.is_floating_point():
        return None
    try:
        logits = _classes_second(predicted(out), target)
    except ValueError:
        return None
    right = (logits.argmax(1) == target).float()
    return right.reshape(len(target), -1).mean(1)


def combined(parts: Sequence[tuple[int, Tensor, Tensor | None]]) -> Score:
    """Returns the score of chunks: number of samples, loss (per sample, or one in all), and hits (per sample, or None)."""
    count = sum(size for size, *_ in parts)
    loss = sum(float(losses.double().mean()) * size for size, losses, _ in parts) / count
    error = None
    if all(losses.shape == (size,) for size, losses, _ in parts) and count > 1:
        error = float(torch.cat([losses.double() for _, losses, _ in parts]).std() / count**0.5)
    right = [found for *_, found in parts if found is not None]
    accuracy = float(torch.cat(right).double().mean()) if right else None
    return Score(loss, error, accuracy)


def _classes_second(prediction: Tensor, target: Tensor) -> Tensor:
    """Returns the logits with the classes on axis 1; they come on axis 1 or on the last axis."""
    if prediction.ndim == target.ndim + 1 and prediction.numel() > target.numel():
        if prediction.shape[:-1] == target.shape:
            return prediction.movedim(-1, 1)
        if prediction.shape[:1] + prediction.shape[2:] == target.shape:
            return prediction
    raise ValueError(_misfit(prediction, target))


def _misfit(prediction: Tensor, target: Tensor) -> str:
    return (
        "diagnose: loss must fit prediction and target; the default, cross entropy for integers or mean squared error,"
        f" got {tuple(prediction.shape)} and {tuple(target.shape)} of {target.dtype}. Give loss=lambda out, y: ...."
    )
