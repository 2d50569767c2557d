"""The rows that a network is trained on: inputs, targets and weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

BLOCK = 8192
"""The most rows that are evaluated at once."""


class SparseInputs:
    """A sparse matrix whose rows come as dense tensors, so that only a batch is ever dense."""

    def __init__(self, matrix: Any, device: str = "cpu") -> None:
        self.matrix, self.device = matrix.tocsr(), device

    def __getitem__(self, rows: Tensor) -> Tensor:
        return torch.from_numpy(self.matrix[rows.cpu().numpy()].toarray()).to(self.device)


@dataclass(frozen=True)
class Rows:
    """Rows of a data set.

    Args:
        x: (N, features), a dense array or a sparse matrix.
        y: (N,) classes or (N, outputs) numbers.
        weight: (N,), with a mean of 1; None where all rows count the same.
    """

    x: Any
    y: np.ndarray
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> "Rows":
        """Returns some of the rows."""
        return Rows(self.x[rows], self.y[rows], None if self.weight is None else self.weight[rows])

    def counted(self) -> "Rows":
        """Returns the rows whose weight is not 0, with a mean weight of 1; the others decide no batch, split or calibration."""
        if self.weight is None or self.weight.all():
            return self
        rows = np.flatnonzero(self.weight)
        kept = self.take(rows)
        return Rows(kept.x, kept.y, self.weight[rows] / self.weight[rows].mean())

    def split(self, held_out: int, seed: int, stratify: bool) -> tuple["Rows", "Rows"]:
        """Draws rows that are held out; returns the others and these. Classes keep their shares where there are enough rows."""
        shares = None
        if stratify:
            counts = np.unique(self.y, return_counts=True)[1]
            fits = counts.min() >= 2 and len(counts) <= min(held_out, len(self) - held_out)
            shares = self.y if fits else None
        left, out = train_test_split(np.arange(len(self)), test_size=held_out, stratify=shares, random_state=seed)
        return self.take(np.sort(left)), self.take(np.sort(out))


def weights(owner: str, sample_weight: Any, x: Any, by_class: np.ndarray | None = None) -> np.ndarray | None:
    """Returns weights with a mean of 1: those of the rows, times those of their classes; None where there are neither.

    Raises:
        ValueError: a weight is negative or not finite, or all are 0.
    """
    if sample_weight is None and by_class is None:
        return None
    weight = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
    if by_class is not None:
        weight = _check_sample_weight(weight * by_class, x, dtype=np.float64, ensure_non_negative=True)
    weight = weight / (weight.max() or 1.0)  # the sum of large ones would be infinite
    if not weight.sum() > 0:
        raise ValueError(f"{owner}: sample_weight must have a sum above 0; got {weight.sum()}. Give a row a weight.")
    return (weight / weight.mean()).astype(np.float32)


def inputs(x: Any, device: str = "cpu") -> Tensor | SparseInputs:
    """Returns inputs that give the rows of a batch as a tensor on a device."""
    if not isinstance(x, np.ndarray):
        return SparseInputs(x, device)
    return torch.from_numpy(_writable(x)).to(device)


def blocks(x: Any) -> Iterator[Tensor]:
    """Yields the rows of a dense or sparse array in order, as dense tensors."""
    for first in range(0, x.shape[0], BLOCK):
        part = x[first : first + BLOCK]
        yield torch.from_numpy(_writable(part) if isinstance(part, np.ndarray) else part.toarray())


def _writable(x: np.ndarray) -> np.ndarray:
    """Returns the array, or a copy of one that torch cannot share: memory-mapped, or with negative strides."""
    return x if x.flags.writeable and x.flags.c_contiguous else x.copy()
