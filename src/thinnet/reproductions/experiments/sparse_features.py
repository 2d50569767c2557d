"""Dropout makes the activations of an autoencoder sparse."""

import torch
from torch import nn
from torch.nn.functional import mse_loss

from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import perceptron, trained
from thinnet.reproductions.pictures import Pictures

MEAN = "mean hidden activation, dropout divided by none"
ZEROS = "share of hidden activations below 0.01, dropout minus none"


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains an autoencoder of 256 hidden units with p = 0.5, and without."""
    data = pictures.split(seed, 900).flat()
    size = data.x.shape[1]
    found = []
    for rate in (0.0, 0.5):
        model = trained(
            lambda rate=rate: perceptron(size, (256,), size, lambda: Dropout(rate)), data.x, data.x, seed, 150, loss=mse_loss
        )
        assert isinstance(model, nn.Sequential)
        with torch.no_grad():
            hidden = model[:2](data.x_test)
        found.append((float(hidden.mean()), float((hidden < 0.01).float().mean())))
    (mean, zeros), (mean_dropout, zeros_dropout) = found
    return {MEAN: mean_dropout / mean, ZEROS: zeros_dropout - zeros}


CLAIM = Claim(
    name="sparse-features",
    source="Srivastava et al. 2014, JMLR 15:1929, section 7.2 and figure 8",
    says="With dropout, hidden activations become sparse: few are high, and their mean is lower.",
    task="An autoencoder of 256 rectified units on 900 pictures, 150 epochs.",
    parts=(Part(MEAN, high=1.0), Part(ZEROS, low=0.0)),
    measure=measure,
)
