"""A convolutional network on images of digits: it drops whole channels after pooling, and units before the head."""

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

from thinnet.nn import Dropout, Dropout2d

epochs, batch, learning_rate = 40, 64, 2e-3


def model() -> nn.Module:
    """Return the network; the study sets its rates."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), Dropout2d()),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), Dropout2d()),
        *(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), Dropout(), nn.Linear(64, 10)),
    )


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 1, 8, 8) and digits (N,)."""
    x, y = load_digits(return_X_y=True)
    return np.asarray(x).reshape(-1, 1, 8, 8) / 16, np.asarray(y)
