"""The training, validation and test sets of a study as arrays, light enough for a worker process to load."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thinnet.study.columns import Column
from thinnet.study.tasks import Task

if TYPE_CHECKING:
    from thinnet.study.user_file import UserFile

EVALUATION_ROWS, EVALUATION_ROWS_OF_A_FILE = 8192, 256


@dataclass(frozen=True)
class Split:
    """One of the three sets: inputs (N, ...), targets (N,), and the row of the file of each sample (N,)."""

    x: np.ndarray
    y: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """Everything that a trial sees of the data.

    Args:
        name: the name of the data.
        target: the predicted column.
        task: how predictions are scored.
        train: the training set, to which the weights are fitted.
        validation: the validation set, which chooses the epoch and the rate.
        test: the test set, used once, at the end.
        split: how the three sets were made, in words.
        columns: how every column of a table was read.
        notes: sentences for the reader on how the data were prepared.
        file: the user's file that defines the model, where there is one.
        by_sample: whether the samples of a batch are on axis 0 of every dropout site, so that masks follow the sample; those of
            a graph follow the step alone.
        warnings: sentences, each with a number, on what makes the result of little use.
    """

    name: str
    target: str
    task: Task
    train: Split
    validation: Split
    test: Split
    split: str = ""
    columns: tuple[Column, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    file: "UserFile | None" = None
    by_sample: bool = True

    @property
    def evaluation_rows(self) -> int:
        """The number of rows that are evaluated at once."""
        return EVALUATION_ROWS if self.file is None else EVALUATION_ROWS_OF_A_FILE

    @property
    def features(self) -> int:
        """The number of inputs of a sample."""
        return int(np.prod(self.train.x.shape[1:]))

    def fingerprint(self) -> str:
        """Return a SHA-256 over every number of the three sets and over the task."""
        digest = hashlib.sha256((repr(self.task) + (self.file.digest if self.file else "")).encode())
        for part in (self.train, self.validation, self.test):
            for array in (part.x, part.y, part.ids):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
