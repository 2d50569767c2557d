"""Dropout before batch normalisation shifts the variance between training and inference."""

import torch
from torch import nn

from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import error, trained
from thinnet.reproductions.pictures import Pictures, Split

SHIFT = "variance before the normalisation, training divided by inference"
ERROR = "test error, dropout before minus behind the last normalisation, points"


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains with p = 0.5 before the last batch normalisation, and behind it."""
    data = pictures.split(seed, 900).flat()
    before, behind = (trained(lambda first=first: _network(data, first), data.x, data.y, seed, 60) for first in (True, False))
    assert isinstance(before, nn.Sequential)
    with torch.no_grad():
        behind_dropout = before[:5]
        normalised = before[5]
        assert isinstance(normalised, nn.BatchNorm1d) and normalised.running_var is not None
        inference = behind_dropout.eval()(data.x).var(0)
        shift = (normalised.running_var.sum() / inference.sum()).item()
    test = data.x_test, data.y_test
    return {SHIFT: shift, ERROR: error(before, *test) - error(behind, *test)}


def _network(data: Split, before: bool) -> nn.Module:
    classes = data.classes
    site, none = Dropout(0.5), nn.Identity()
    return nn.Sequential(
        nn.Linear(data.x.shape[1], 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        site if before else none,
        nn.Linear(256, 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        none if before else site,
        nn.Linear(256, classes),
    )


CLAIM = Claim(
    name="variance-shift",
    source="Li, Chen, Hu and Yang 2019, arXiv:1801.05134",
    says="Dropout before batch normalisation raises the variance in training only, and the error; behind it does not.",
    task="A perceptron of 2 x 256 units with batch normalisation on 900 pictures, p = 0.5, 60 epochs.",
    parts=(Part(SHIFT, low=1.0), Part(ERROR, low=0.0)),
    measure=measure,
)
