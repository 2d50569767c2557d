"""The network of `cnn` with batch normalisation: dropout before the head alone, behind all normalisation."""

from torch import nn

from thinnet.nn import Dropout
from thinnet.study.networks.cnn import batch, data, epochs, learning_rate

__all__ = ["batch", "data", "epochs", "learning_rate", "model"]


def model() -> nn.Module:
    """Return the network; the study sets its rates."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), Dropout(), nn.Linear(64, 10)),
    )
