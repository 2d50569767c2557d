"""The network of `cnn` with batch normalisation: dropout before the head alone, behind all normalisation."""

from torch import nn

from thinnet.study.networks.cnn import Network, batch, data, epochs, learning_rate

__all__ = ["batch", "data", "epochs", "learning_rate", "model", "places"]

places = "head"


def model(width: float = 1.0) -> nn.Module:
    """Return the network; the study sets its rates."""
    return Network(1, 8, 8, 10, width, norm=True)
