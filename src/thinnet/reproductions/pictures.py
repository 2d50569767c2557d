"""The pictures of the experiments: scikit-learn's digits, or MNIST and CIFAR files of the user."""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from thinnet.report.mistakes import Mistake

DIGITS = "digits"


class Split(NamedTuple):
    """Samples for training and for the test; the inputs are images, (N, C, H, W)."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(torch.cat([self.y, self.y_test]).max()) + 1

    def flat(self) -> "Split":
        """Returns the same with one row of numbers for each image."""
        return self._replace(x=self.x.flatten(1), x_test=self.x_test.flatten(1))


class Pictures(NamedTuple):
    """Images with classes.

    Args:
        source: `digits`, or the path of the files.
    """

    source: str = DIGITS

    def split(self, seed: int, train: int, test: int = 800) -> Split:
        """Returns so many samples for training, and others for the test, chosen at random."""
        x, y = _read(self.source)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        rows, others = order[:train], order[train : train + test]
        return Split(x[rows], y[rows], x[others], y[others])

    def digest(self) -> str:
        """Returns a hash of the images and classes."""
        found = hashlib.sha256()
        for part in _read(self.source):
            found.update(part.numpy().tobytes())
        return found.hexdigest()[:16]


def check(source: str) -> Pictures:
    """Returns the pictures of a path, after a look at them.

    Raises:
        Mistake: the path holds no pictures, or fewer than the experiments need.
    """
    rule = "--data must be MNIST files, CIFAR batches or a folder of pictures by class"
    if source != DIGITS and not Path(source).exists():
        raise Mistake(f"thinnet reproduce: {rule}; got {source!r}, which does not exist. Check the path.")
    x, _ = _read(source)
    if x.ndim != 4:
        raise Mistake(f"thinnet reproduce: {rule}; got samples of the shape {tuple(x.shape[1:])}. Choose another path.")
    if len(x) < 1797:
        raise Mistake(f"thinnet reproduce: --data must hold at least 1797 pictures; got {len(x)}. Choose another path.")
    return Pictures(source)


@cache
def _read(source: str) -> tuple[Tensor, Tensor]:
    if source == DIGITS:
        from sklearn.datasets import load_digits

        data = load_digits()
        return torch.from_numpy(data.images).float()[:, None] / 16, torch.from_numpy(data.target).long()  # pyright: ignore
    from thinnet.study.data.sources.recognise import recognise

    found = recognise(Path(source), None)
    if found is None:
        raise Mistake(f"thinnet reproduce: --data must hold pictures; got {source!r}. Name MNIST or CIFAR files.")
    x, y = found.read(Path(source)).development
    scale = 255 if x.dtype == np.uint8 else 1
    return torch.tensor(x, dtype=torch.float32) / scale, torch.tensor(y, dtype=torch.int64)
