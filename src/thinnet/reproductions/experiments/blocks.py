"""In convolutional networks, dropping blocks is better than dropping single units."""

from collections.abc import Callable

from torch import nn

from thinnet.nn import DropBlock2d, Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import error, nll, trained
from thinnet.reproductions.pictures import Pictures, Split

LOSS, ERROR = "test loss, DropBlock minus dropout, nats", "test error, DropBlock minus dropout, points"
RATE = 0.2


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains a convolutional network with either, at the same rate behind both convolutions."""
    data = pictures.split(seed, 500)
    blocks, units = (
        trained(lambda site=site: _network(data, site), data.x, data.y, seed, 40)
        for site in (lambda: DropBlock2d(RATE, block=3), lambda: Dropout(RATE))
    )
    test = data.x_test, data.y_test
    return {LOSS: nll(blocks, *test) - nll(units, *test), ERROR: error(blocks, *test) - error(units, *test)}


def _network(data: Split, site: Callable[[], nn.Module]) -> nn.Module:
    channels, side = data.x.shape[1], data.x.shape[-1]
    convolutions = [
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        site(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        site(),
    ]
    head = [nn.MaxPool2d(side // 4), nn.Flatten(), nn.LazyLinear(data.classes)]
    model = nn.Sequential(*convolutions, *head)
    model.eval()(data.x[:1])
    return model


CLAIM = Claim(
    name="blocks",
    source="Ghiasi, Lin and Le 2018, arXiv:1810.12890",
    says="Dropping blocks of a feature map regularises convolutional networks better than dropping single units.",
    task="Two convolutions of 32 channels on 500 pictures, p = 0.2, blocks of 3 x 3, 40 epochs.",
    parts=(Part(LOSS, high=0.0), Part(ERROR, high=0.0)),
    measure=measure,
)
