"""One epoch of training with addressed masks: the loop of a study and of the estimators of `thinnet.sklearn`.

A step of a small network takes less time than the Python around it, so there is little of that.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from thinnet.rng import DropoutRNG


class Optimizer(Protocol):
    """What a step asks of an optimiser."""

    def zero_grad(self) -> None: ...
    def step(self) -> object: ...


class Inputs(Protocol):
    """The inputs of all rows: a tensor, or anything that gives the rows of a batch as one."""

    def __getitem__(self, rows: Tensor, /) -> Tensor: ...


def train_epoch(
    model: nn.Module,
    optimizer: Optimizer,
    rng: DropoutRNG | None,
    x: Inputs,
    batches: Iterable[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    step: int = 0,
    ids: Tensor | None = None,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> Iterator[Tensor]:
    """Takes one step a batch, and yields its loss.

    Args:
        model: in training mode.
        optimizer: of its parameters.
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


def adam(model: nn.Module, learning_rate: float, decay: float = 0.0) -> torch.optim.Optimizer:
    """Returns AdamW in one fused operation; without weight decay it is Adam."""
    return torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=decay, fused=True)
