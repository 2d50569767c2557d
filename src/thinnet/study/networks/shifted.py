"""The network of `cnn`, tested on images from another laboratory: blurred, noisy or rotated, as no training image is."""

import numpy as np
from scipy.ndimage import gaussian_filter, rotate
from torch import nn

from thinnet.study.networks import cnn
from thinnet.study.networks.cnn import batch, epochs, learning_rate, places

__all__ = ["batch", "data", "epochs", "learning_rate", "model", "places"]

TEST_SHARE, SEED = 0.2, 0
BLUR, NOISE, DEGREES = 0.8, 0.25, 25.0
KINDS = ("blur", "noise", "rotation")

Samples = tuple[np.ndarray, np.ndarray]


def model(width: float = 1.0) -> nn.Module:
    """Return the network; the study sets its rates."""
    return cnn.model(width=width)


def data() -> tuple[Samples, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return images and digits for training and validation; and those of the test with the shift of each image."""
    x, y = cnn.data()
    rng = np.random.default_rng(SEED)
    test, rest = np.split(rng.permutation(len(y)), [round(TEST_SHARE * len(y))])
    kinds = np.array([KINDS[index % len(KINDS)] for index in range(len(test))])
    images = np.stack([shifted(x[row, 0], kind, rng) for row, kind in zip(test, kinds, strict=True)])[:, None]
    return (x[rest], y[rest]), (images, y[test], kinds)


def shifted(image: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return an image with pixels in [0, 1] blurred, with normal noise, or turned to one of both sides."""
    if kind == "blur":
        return gaussian_filter(image, BLUR)
    if kind == "noise":
        return (image + NOISE * rng.normal(size=image.shape)).clip(0, 1)
    return rotate(image, DEGREES * rng.choice((-1, 1)), reshape=False, order=1)
