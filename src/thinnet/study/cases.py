"""The rows a study trains, chooses and tests on, as arrays; light enough for a worker process to load."""

import hashlib
from dataclasses import dataclass

import numpy as np

from thinnet.study.tasks import Task


@dataclass(frozen=True)
class Part:
    """One part of the split: inputs (N, features), targets (N,), and the row of the file each case came from (N,)."""

    x: np.ndarray
    y: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Data:
    """Everything a trial sees of the data, and what a reader should know about how it was made.

    Args:
        name: what the data are called.
        target: what is predicted.
        task: how predictions are scored.
        train: what weights are fitted to.
        validation: the hold-out that the epoch and the rate are chosen on.
        test: looked at once, at the end.
        notes: full sentences for the reader.
    """

    name: str
    target: str
    task: Task
    train: Part
    validation: Part
    test: Part
    notes: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Says which data these are.

        Returns:
            A SHA-256 over every number of the three parts and over the task.
        """
        digest = hashlib.sha256(repr(self.task).encode())
        for part in (self.train, self.validation, self.test):
            for array in (part.x, part.y, part.ids):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
