"""Weight scaling matches the average of all sub-networks."""

import torch
from torch.nn.functional import nll_loss

from thinnet.inference import exact
from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import nll, perceptron, trained
from thinnet.reproductions.pictures import Pictures

ARITHMETIC = "test loss, weight scaling minus average of all sub-networks, nats"
GEOMETRIC = "largest difference from the geometric average, probability"
UNITS = 10


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Enumerates the 1,024 sub-networks of a hidden layer of 10 units."""
    data = pictures.split(seed, 900, test=300).flat()
    classes = data.classes
    model = trained(lambda: perceptron(data.x.shape[1], (UNITS,), classes, lambda: Dropout(0.2)), data.x, data.y, seed, 60)
    averages = exact(model, data.x_test)
    with torch.no_grad():
        scaled = model(data.x_test).softmax(-1)
    return {
        ARITHMETIC: nll(model, data.x_test, data.y_test) - float(nll_loss(averages.mean.log(), data.y_test)),
        GEOMETRIC: float((scaled - averages.geometric).abs().max()),
    }


CLAIM = Claim(
    name="weight-scaling",
    source="Hinton et al. 2012, arXiv:1207.0580; Baldi and Sadowski 2013, NeurIPS",
    says="Weight scaling computes the geometric average of all sub-networks for one hidden layer, and is close to their mean.",
    task="A perceptron of 10 hidden units on 900 pictures, p = 0.2, all 1,024 sub-networks. Close means within 0.05 nats.",
    parts=(Part(ARITHMETIC, -0.05, 0.05), Part(GEOMETRIC, 0.0, 1e-4)),
    measure=measure,
)
