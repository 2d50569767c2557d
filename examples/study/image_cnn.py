"""An image CNN, for `thinnet study examples/study/image_cnn.py`.

It drops whole channels after pooling, and units before the head.
"""

from sklearn.datasets import load_digits
from torch import nn

epochs, batch = 30, 64


def model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(),
        nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10),
    )  # fmt: skip


def data():
    x, y = load_digits(return_X_y=True)
    return x.reshape(-1, 1, 8, 8) / 16, y
