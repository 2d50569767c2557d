"""Classification and regression: how each sample is scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch.nn.functional as F
from torch import Tensor


class Task(Protocol):
    """How outputs are scored: `loss` trains the network and chooses the rate, `error` is for the reader.

    `loss_meaning` explains the loss in a sentence, or is empty.
    Texts show an error times `error_factor` with `error_unit`, and a difference of errors with `difference_unit`.
    """

    @property
    def name(self) -> str: ...
    @property
    def outputs(self) -> int: ...
    @property
    def loss_name(self) -> str: ...
    @property
    def loss_meaning(self) -> str: ...
    @property
    def error_name(self) -> str: ...
    @property
    def error_factor(self) -> float: ...
    @property
    def error_unit(self) -> str: ...
    @property
    def difference_unit(self) -> str: ...
    @property
    def constant_name(self) -> str: ...

    def constant(self, y: Tensor) -> Tensor | None:
        """The one output (outputs,) with the lowest loss on the training targets (N,), the naive baseline; None if unknown."""
        ...

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """The loss of every sample, (N, outputs) and (N,) to (N,)."""
        ...

    def error(self, output: Tensor, y: Tensor) -> Tensor:
        """The error of every sample, (N, outputs) and (N,) to (N,)."""
        ...

    def total(self, mean: float) -> float:
        """The error of many samples, from the mean of theirs."""
        ...

    def error_difference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """A matrix like `a` and `b`, (seeds, rows), whose mean is the total error of `a` less that of `b`."""
        ...


@dataclass(frozen=True)
class Classification:
    """Classes: negative log-likelihood, and the error rate.

    The output has the classes on its last axis. Where a sample has several targets, as a text has tokens, they are averaged.
    """

    classes: Sequence[str]
    name = "classification"
    loss_name = "NLL"
    loss_meaning = "NLL, the negative log-likelihood, is the mean of -log(probability of the right class): lower is better."
    error_name = "error"
    error_factor = 100.0
    error_unit = " %"
    difference_unit = " points"
    constant_name = "always predicting the shares of the classes"

    @property
    def outputs(self) -> int:
        return len(self.classes)

    def constant(self, y: Tensor) -> Tensor:
        return y.flatten().bincount(minlength=self.outputs).float().clamp_min(0.5).log().log_softmax(0)

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        losses = F.cross_entropy(output.flatten(0, -2), y.flatten(), reduction="none")
        return losses.reshape(len(y), -1).mean(1) if y.dim() > 1 else losses

    def error(self, output: Tensor, y: Tensor) -> Tensor:
        errors = (output.argmax(-1) != y).to(output.dtype)
        return errors.flatten(1).mean(1) if y.dim() > 1 else errors

    def total(self, mean: float) -> float:
        return mean

    def error_difference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a - b


@dataclass(frozen=True)
class Regression:
    """Numbers: squared error in units of the variance of the target outside the test set, and RMSE in the unit of the target.

    The network sees the standardised target: predicting the mean has a loss of about 1.
    """

    mean: float
    scale: float
    name = "regression"
    loss_name = "squared error"
    loss_meaning = "The squared error is divided by the variance of the targets: always predicting their mean scores 1."
    error_name = "RMSE"
    error_factor = 1.0
    error_unit = ""
    difference_unit = ""
    constant_name = "always predicting the mean"
    outputs = 1

    def constant(self, y: Tensor) -> Tensor:
        return y.mean().reshape(1)

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        return (output.reshape(y.shape) - y).square()

    def error(self, output: Tensor, y: Tensor) -> Tensor:
        return self.loss(output, y).double() * self.scale**2  # single precision ends at 3e38

    def total(self, mean: float) -> float:
        return mean**0.5

    def error_difference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Linearised at the two roots, so that the mean of this matrix has the variance of the RMSE difference."""
        root_a, root_b = np.sqrt(a.mean()), np.sqrt(b.mean())
        if root_a == 0 or root_b == 0:
            return np.full_like(a, root_a - root_b)
        return (a / root_a - b / root_b + root_a - root_b) / 2


@dataclass(frozen=True)
class Custom:
    """The loss of a user's file, and its metric or else the loss again; both return one number for each sample."""

    file: Any
    name = "custom loss"
    loss_name = "loss"
    loss_meaning = ""
    error_factor = 1.0
    error_unit = ""
    difference_unit = ""
    constant_name = ""
    outputs = 0

    @property
    def error_name(self) -> str:
        return "metric" if hasattr(self.file.module, "metric") else "loss"

    def constant(self, y: Tensor) -> None:
        return None

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        return self.file.call("loss", output, y)

    def error(self, output: Tensor, y: Tensor) -> Tensor:
        return self.file.call(self.error_name, output, y)

    def total(self, mean: float) -> float:
        return mean

    def error_difference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a - b

    def __repr__(self) -> str:
        return "Custom()"  # the file is part of the identity of the data by its text
