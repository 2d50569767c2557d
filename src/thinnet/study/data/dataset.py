"""The training, validation and test sets of a study as arrays, light enough for a worker process to load."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import train_test_split

from thinnet.study.data.columns import Column
from thinnet.study.data.tasks import Task
from thinnet.study.design.plan import FEWEST_IN_CLASS

if TYPE_CHECKING:
    from thinnet.study.data.encoding import Encoder
    from thinnet.study.data.user_file import UserFile

EVALUATION_ROWS, EVALUATION_ROWS_OF_A_FILE = 8192, 256


@dataclass(frozen=True)
class Split:
    """One of the three sets: inputs (N, ...), targets (N,), and the row of the file of each sample (N,)."""

    x: np.ndarray
    y: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, rows: np.ndarray | slice) -> "Split":
        """Returns some of the rows."""
        return Split(self.x[rows], self.y[rows], self.ids[rows])


@dataclass(frozen=True)
class Dataset:
    """Everything that a trial sees of the data.

    Args:
        name: the name of the data.
        target: the predicted column.
        task: how predictions are scored.
        development: the samples for training, to which the weights are fitted, and for validation, which chooses the epoch and
            the configuration.
        validation_rows: how many of them are for validation.
        test: the test set, the same for every seed and used once, at the end.
        split_seed: together with the seed of a trial it divides the development samples anew; None: the last ones are for
            validation, for every seed.
        split: how the sets were made, in words.
        columns: how every column of a table was read.
        notes: sentences for the reader on how the data were prepared.
        file: the user's file that defines the model, where there is one.
        by_sample: whether the samples of a batch are on axis 0 of every dropout site, so that masks follow the sample; those of
            a graph follow the step alone.
        warnings: sentences, each with a number, on what makes the result of little use.
        encoder: of the inputs of a table; None where the file or the problem gives them as they are.
        subgroups: for each test row the name of its subgroup, where the test set has some.
    """

    name: str
    target: str
    task: Task
    development: Split
    validation_rows: int
    test: Split
    split_seed: int | None = None
    split: str = ""
    columns: tuple[Column, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    file: "UserFile | None" = None
    by_sample: bool = True
    encoder: "Encoder | None" = None
    subgroups: np.ndarray | None = None

    def limited(self, rows: int | None) -> "Dataset":
        """Returns the dataset with so many of the samples for training and validation; all of them for None."""
        total = len(self.development)
        if rows is None or rows >= total:
            return self
        kept = np.sort(np.random.default_rng(self.split_seed or 0).permutation(total)[:rows])
        validation = max(int((kept >= total - self.validation_rows).sum()), 1)
        return replace(self, development=self.development.rows(kept), validation_rows=validation)

    def sets(self, seed: int) -> tuple[Split, Split]:
        """Returns the training and the validation set of a seed."""
        rows = np.arange(len(self.development))
        if self.split_seed is None:
            return self.development.rows(rows[: -self.validation_rows]), self.development.rows(rows[-self.validation_rows :])
        state = int(np.random.SeedSequence([self.split_seed, seed]).generate_state(1)[0])
        classes = classes_of(self.development.y)
        train, validation = train_test_split(rows, test_size=self.validation_rows, stratify=classes, random_state=state)
        return self.development.rows(np.sort(train)), self.development.rows(np.sort(validation))

    @cached_property
    def train(self) -> Split:
        """The training set of seed 0."""
        return self.sets(0)[0]

    @cached_property
    def validation(self) -> Split:
        """The validation set of seed 0."""
        return self.sets(0)[1]

    @property
    def evaluation_rows(self) -> int:
        """The number of rows that are evaluated at once."""
        return EVALUATION_ROWS if self.file is None else EVALUATION_ROWS_OF_A_FILE

    @property
    def features(self) -> int:
        """The number of inputs of a sample."""
        return int(np.prod(self.development.x.shape[1:]))

    def fingerprint(self) -> str:
        """Returns a SHA-256 over every number of the sets and over the task."""
        digest = hashlib.sha256((repr(self.task) + (self.file.digest if self.file else "")).encode())
        digest.update(f"{self.validation_rows} {self.split_seed}".encode())
        for part in (self.development, self.test):
            for array in (part.x, part.y, part.ids):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def classes_of(y: np.ndarray) -> np.ndarray | None:
    """Returns the targets by which a split keeps shares equal: whole numbers, one a sample, of which each occurs often enough.

    Example:
        >>> classes_of(np.array([0, 1] * 5)) is None, classes_of(np.array([0.0, 1.0] * 5)) is None
        (False, True)
    """
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        return None
    return y if np.unique(y, return_counts=True)[1].min() >= FEWEST_IN_CLASS - 1 else None
