"""Variance shift: the input of a layer has another variance in training, with dropout on, than in eval.

    ratio = Var_train[x] / Var_eval[x];   behind dropout (E[x²] / q - μ²) / Var[x],   1 / q for mean 0

Batch normalisation divides by the variance of training; if the ratio is not 1, that is the wrong one in eval.

Source: Li et al. 2019 (CVPR), arXiv:1801.05134.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

CONSTANT = 1e-12


@dataclass(frozen=True)
class Shift:
    """The variance shift of the input of one layer.

    Args:
        name: the path of the layer.
        reader: the class of the layer.
        normalises: whether it is a normalisation layer.
        ratio: variance in training over variance in eval, median over units.
        low, high: the lowest and the highest ratio of a unit.
    """

    name: str
    reader: str
    normalises: bool
    ratio: float
    low: float
    high: float


class Moments:
    """Mean and variance of each unit, accumulated over tensors.

    >>> moments = Moments()
    >>> moments.add(torch.tensor([[0.0], [2.0]]))
    >>> moments.add(torch.tensor([[4.0]]))
    >>> moments.variance().tolist()
    [2.6666666666666665]
    """

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Adds observations, `(n, D)`."""
        x = x.detach().double()
        mean, squares, total = x.mean(0), (x - x.mean(0)).square().sum(0), self.count + len(x)
        if self.count:
            change = mean - self.mean
            squares = squares + self.squares + change.square() * (self.count * len(x) / total)
            mean = self.mean + change * (len(x) / total)
        self.count, self.mean, self.squares = total, mean, squares

    def variance(self) -> Tensor:
        """Returns the variance of each unit, with 1 / n."""
        return self.squares / self.count


def variance_ratio(train: Tensor, evaluated: Tensor) -> Tensor:
    """Returns the ratio of the variances of each unit that varies in eval.

    Args:
        train: variances in training, `(D,)`.
        evaluated: variances in eval, `(D,)`.

    Source: Li et al. 2019, arXiv:1801.05134.

    >>> variance_ratio(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.0]))
    tensor([2.])
    """
    varies = evaluated > CONSTANT * evaluated.max()
    return train[varies] / evaluated[varies]
