"""The local reparametrisation: noise on weights, drawn on the outputs (Kingma, Salimans, Welling 2015, section 2.2)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thinnet.methods.numbers import sum_of_squares
from thinnet.rng import NoiseKey

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def apply(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Returns the output of a layer with another weight and bias.

    >>> layer, x = nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), torch.randn(4, 2, 5)
    >>> torch.equal(apply(layer, x, layer.weight, layer.bias), layer(x))
    True
    """
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, bias)
    return layer._conv_forward(x, weight, bias)


def noisy(key: NoiseKey, layer: Any, x: Tensor, variance: Tensor) -> Tensor:
    """Returns the output of a layer with weights W ~ N(theta, v), one W per sample: y ~ N(x theta + bias, x^2 v).

    Outputs of variance 0 have no noise and no gradient of it, because a square root has none there.
    """
    mean = layer(x)
    spread = sum_of_squares(lambda squares, weights: apply(layer, squares, weights, None), x, variance)
    some = spread > 0
    sigma = torch.where(some, torch.where(some, spread, 1).sqrt(), 0)
    return (mean + sigma * key.normal(mean.shape)).to(mean.dtype)
