"""One epoch of training with addressed masks: the loop of a study and of the estimators of `thinnet.sklearn`.

A step of a small network takes less time than the Python around it, so there is little of that.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import compress
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from thinnet.rng import DropoutRNG


class Inputs(Protocol):
    """The inputs of all rows: a tensor, or anything that gives the rows of a batch as one."""

    def __getitem__(self, rows: Tensor, /) -> Tensor: ...


def train_epoch(
    model: nn.Module,
    optimizer: Any,
    rng: DropoutRNG | None,
    x: Inputs,
    batches: Iterable[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    step: int = 0,
    ids: Tensor | None = None,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> Iterator[Tensor]:
    """Take one step a batch, and yield its loss.

    Args:
        model: in training mode.
        optimizer: one of PyTorch, or `Adam`.
        rng: bound to the model; None for a model without dropout.
        x: the inputs of all rows.
        batches: the rows of each step, on the device of the model.
        loss: from the output and the rows to one number.
        step: the address of the masks of the first step.
        ids: the sample id of each row; None where masks follow the step alone.
        backward: computes the gradients of a loss.
    """
    take = partial(torch.index_select, x, 0) if isinstance(x, Tensor) else x.__getitem__
    for number, rows in enumerate(batches, start=step):
        if rng is not None:
            rng.at(number, samples=None if ids is None else ids[rows])
        optimizer.zero_grad()
        value = loss(model(take(rows)), rows)
        backward(value)
        optimizer.step()
        yield value.detach()


class Adam:
    """Adam, or AdamW, as one call of PyTorch's fused kernel a step: the numbers of `torch.optim` with `fused=True`.

    `torch.optim` makes the same call, but takes three times as long for a small network.

    Args:
        weights: a step leaves those without a gradient alone.
        learning_rate: the step size.
        decay: the weight decay of AdamW; None for Adam.
    """

    def __init__(self, weights: Iterable[nn.Parameter], learning_rate: float, decay: float | None = None) -> None:
        self.weights = list(weights)
        self.first, self.second = ([torch.zeros_like(weight) for weight in self.weights] for _ in range(2))
        self.steps = [torch.zeros((), device=weight.device) for weight in self.weights]
        self.set(learning_rate, decay)

    def set(self, learning_rate: float, decay: float | None = None) -> None:
        """Change the step size and the weight decay."""
        self.decoupled = decay is not None
        self.options = {"lr": learning_rate, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": decay or 0.0}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The weights, under the name that gradient scalers look for."""
        return [{"params": self.weights}]

    def zero_grad(self) -> None:
        """Remove the gradients."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights by their gradients."""
        lists = [self.weights, [weight.grad for weight in self.weights], self.first, self.second, self.steps]
        if any(gradient is None for gradient in lists[1]):
            has = [gradient is not None for gradient in lists[1]]
            lists = [[*compress(values, has)] for values in lists]
        *tensors, steps = lists
        if not steps:
            return
        kernels: Any = torch  # which declares no types for these
        kernels._foreach_add_(steps, 1)
        kernel = kernels._fused_adamw_ if self.decoupled else kernels._fused_adam_
        kernel(*tensors, [], steps, **self.options, amsgrad=False, maximize=False)

    def move(self) -> None:
        """Move the averages to the devices of their weights."""
        for values in (self.first, self.second, self.steps):
            values[:] = [value.to(weight.device) for value, weight in zip(values, self.weights, strict=True)]
