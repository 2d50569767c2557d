"""Fast dropout: in the place of a mask for its input, a linear layer gets the Gaussian that all masks make of its output.

    y = mu + s z,  mu = W x + b,  s^2 = p / (1 - p) (W o W)(x o x),  z ~ N(0, 1)

Wang and Manning 2013, ICML, PMLR 28(2):118; the same step as local reparametrisation: Kingma et al. 2015, arXiv:1506.02557.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.methods import call
from thinnet.methods.facts import Facts, Method
from thinnet.methods.moments import moments
from thinnet.methods.moments.moments import Moments
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey


def definition(x: Tensor, z: Tensor, p: float, layer: Any) -> Tensor:
    """Returns W x + b plus the deviation that dropout of the inputs at rate p has, times z."""
    return mean(x, p, layer) + variance(x, p, layer).sqrt() * z


def mean(x: Tensor, p: float, layer: Any) -> Tensor:
    """Returns W x + b."""
    return F.linear(x, layer.weight.to(x.dtype), None if layer.bias is None else layer.bias.to(x.dtype))


def variance(x: Tensor, p: float, layer: Any) -> Tensor:
    """Returns p / (1 - p) (W o W)(x o x), the variance of the layer behind dropout."""
    return F.linear(x.square(), layer.weight.to(x.dtype).square()) * (p / (1 - p))


FACTS = Facts(
    name="Fast dropout",
    summary="Samples a linear layer's output from the Gaussian with the mean and variance that dropout of its input gives it.",
    equation="y = W x + b + s z,  s^2 = p / (1 - p) (W o W)(x o x),  z ~ N(0, 1)",
    paper="Wang and Manning 2013, ICML, PMLR 28(2):118",
    grain="output unit: the outputs of a layer are independent, while a mask for the input would be common to them",
    place="linear layers with many inputs, in the place of a dropout before them",
    avoid="layers with few inputs or a few large ones, whose sum is not nearly Gaussian",
    default="0.5, as dropout before the layer",
    cost="a second product of the layer's matrices, and a normal number an output; the deviations are kept for backward",
    elsewhere="no library that is maintained",
    domain="[0, 1)",
    mean=mean,
    variance=variance,
    definition=definition,
    noise="normal",
    noise_shape=lambda shape, layer: (*shape[:-1], layer.out_features),
    in_eval=lambda x, p, layer: layer(x),
)


def fast_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    layer: nn.Linear,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Returns the output of a linear layer with the noise that dropout of its input would give it, as a Gaussian.

    y = W x + b + s z, with s^2 = p / (1 - p) (W o W)(x o x) and z ~ N(0, 1) for each output.

    Args:
        x: `(..., in)`, without dropout.
        p: the rate of the dropout that it stands for; honoured to 1/65536.
        layer: the linear layer; it is not changed.
        training: whether noise is drawn. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: `(..., out)`.

    Raises:
        ValueError: `p` is not in [0, 1).
        TypeError: `layer` is not Linear.

    Source: Wang and Manning 2013, ICML, PMLR 28(2):118.

    >>> fast_dropout(torch.randn(4, 3), 0.5, layer=nn.Linear(3, 2), training=True).shape
    torch.Size([4, 2])
    """
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"fast_dropout: layer must be Linear; got {type(layer).__name__}.")
    key = call.draw_key("fast_dropout", x, p, training, generator, below_one=True)
    return layer(x) if key is None else _drop(key, x, layer)


def _drop(key: NoiseKey, x: Tensor, layer: nn.Linear) -> Tensor:
    y = layer(x)
    squares = F.linear(x.square(), layer.weight.square())
    spread = squares > 0
    deviation = torch.where(spread, torch.where(spread, squares, 1).sqrt(), 0)  # the root has no slope at 0
    factor = (key.p * key.scale).sqrt()
    return y + deviation * (factor * key.normal(y.shape)).to(y.dtype)


class FastDropout(Wrapped):
    """A linear layer that adds, in training, the noise that dropout of its input would give it; the layer itself in eval.

    y = W x + b + s z, with s^2 = p / (1 - p) (W o W)(x o x) and z ~ N(0, 1) for each output.

    Args:
        layer: Linear.
        p: the rate of the dropout before the layer that it stands for; honoured to 1/65536.

    Shapes: `(..., in)` in, `(..., out)` out.

    Raises:
        ValueError: `p` is not in [0, 1).
        TypeError: `layer` is of another class.

    Source: Wang and Manning 2013, ICML, PMLR 28(2):118.

    >>> FastDropout(nn.Linear(3, 2), 0.2)(torch.randn(4, 3)).shape
    torch.Size([4, 2])
    """

    layers = (nn.Linear,)
    below_one = True

    def drop(self, x: Tensor) -> Tensor:
        """Draws one normal number for each output."""
        key = self.key(x)
        return self.layer(x) if key is None else _drop(key, x, self.layer)

    def moments(self, m: Moments) -> Moments:
        """Returns the moments of the output for those of the input, as `propagate` asks for them."""
        return moments.layer(moments.dropout(m, self.p or 0.0), self.layer)


METHODS = (Method(FACTS, FastDropout, fast_dropout),)
