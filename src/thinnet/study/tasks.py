"""The two kinds of target: how the output of a network is scored, case by case."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch.nn.functional as F
from torch import Tensor


class Task(Protocol):
    """How outputs are scored: `loss` is what is trained on and chosen by, `error` is what people ask for.

    An error is shown times `error_factor`, followed by `error_unit`; a difference of errors by `difference_unit`.
    """

    @property
    def name(self) -> str: ...
    @property
    def outputs(self) -> int: ...
    @property
    def loss_name(self) -> str: ...
    @property
    def error_name(self) -> str: ...
    @property
    def error_factor(self) -> float: ...
    @property
    def error_unit(self) -> str: ...
    @property
    def difference_unit(self) -> str: ...

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """The loss of every case, (N, outputs) and (N,) to (N,)."""
        ...

    def error(self, output: Tensor, y: Tensor) -> Tensor:
        """The error of every case, (N, outputs) and (N,) to (N,)."""
        ...

    def total(self, mean: float) -> float:
        """The error of many cases, from the mean of theirs."""
        ...

    def error_difference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """A matrix like `a` and `b`, (seeds, cases), whose mean is the total error of `a` less that of `b`."""
        ...


@dataclass(frozen=True)
class Classification:
    """A target of classes: negative log likelihood, and the share of wrong answers."""

    classes: Sequence[str]
    name = "classification"
    loss_name = "NLL"
    error_name = "error"
    error_factor = 100.0
    error_unit = " %"
    difference_unit = " points"

    @property
    def outputs(self) -> int:
        return len(self.classes)

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output, y, reduction="none")

    def error(self, output: Tensor, y: Tensor) -> Tensor:
        return (output.argmax(dim=1) != y).to(output.dtype)

    def total(self, mean: float) -> float:
        return mean

    def error_difference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a - b


@dataclass(frozen=True)
class Regression:
    """A target of numbers: squared error in units of the training target's variance, and RMSE in the target's own unit.

    The network sees the standardised target, so a loss of 1 is that of always answering the mean of the training part.
    """

    mean: float
    scale: float
    name = "regression"
    loss_name = "squared error"
    error_name = "RMSE"
    error_factor = 1.0
    error_unit = ""
    difference_unit = ""
    outputs = 1

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        return (output.squeeze(1) - y).square()

    def error(self, output: Tensor, y: Tensor) -> Tensor:
        return self.loss(output, y) * self.scale**2

    def total(self, mean: float) -> float:
        return mean**0.5

    def error_difference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Linear about the two roots, so that the mean of this matrix has the spread of the RMSE difference."""
        root_a, root_b = np.sqrt(a.mean()), np.sqrt(b.mean())
        if root_a == 0 or root_b == 0:
            return np.full_like(a, root_a - root_b)
        return (a / root_a - b / root_b + root_a - root_b) / 2
