"""Fast dropout: adds to a linear layer's output the Gaussian noise that dropout of its input would cause."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.methods import call
from thinnet.methods.call import no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.moments import moments
from thinnet.methods.moments.moments import Moments
from thinnet.methods.numbers import sum_of_squares
from thinnet.methods.weights.affine import output
from thinnet.methods.weights.wrapped import Wrapped, check_layer
from thinnet.rng import NoiseKey


def definition(x: Tensor, z: Tensor, p: float, layer: Any) -> Tensor:
    """Returns W x + b plus z times the standard deviation that dropout of the inputs at rate p causes."""
    return mean(x, p, layer) + variance(x, p, layer).sqrt() * z


def mean(x: Tensor, p: float, layer: Any) -> Tensor:
    """Returns W x + b."""
    return output(layer, x)


def variance(x: Tensor, p: float, layer: Any) -> Tensor:
    """Returns p / (1 - p) (W o W)(x o x), the variance of the layer behind dropout."""
    return F.linear(x.square(), layer.weight.to(x.dtype).square()) * (p / (1 - p))


FACTS = Facts(
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
    """Functional form of `FastDropout`.

    Args:
        x: `(..., in)`, without dropout.
        training: whether to apply noise; `layer(x)` is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> fast_dropout(torch.randn(4, 3), 0.5, layer=nn.Linear(3, 2), training=True).shape
    torch.Size([4, 2])
    """
    if not isinstance(x, Tensor):
        return no_tensor(fast_dropout, locals())
    check_layer("fast_dropout", layer, (nn.Linear,))
    key = call.draw_key("fast_dropout", x, p, training, generator, below_one=True)
    return layer(x) if key is None else _drop(key, x, layer)


def _drop(key: NoiseKey, x: Tensor, layer: nn.Linear) -> Tensor:
    y = layer(x)
    weight = layer.weight.float() if layer.weight.dtype == torch.float16 else layer.weight
    squares = sum_of_squares(F.linear, x, weight.square())
    spread = squares > 0
    deviation = torch.where(spread, torch.where(spread, squares, 1).sqrt(), 0)  # the root has no slope at 0
    factor = (key.p * key.scale).sqrt()
    return (y + deviation * (factor * key.normal(y.shape))).to(y.dtype)


class FastDropout(Wrapped):
    """Samples a linear layer's output from the Gaussian with the mean and variance that dropout of its input causes.

        y = mu + s z,  mu = W x + b,  s^2 = p / (1 - p) (W o W)(x o x),  z ~ N(0, 1)

    The outputs of a layer are independent, while outputs behind a mask of the input depend on each other.

    Noise shape: one number per output unit.
    Use when: in linear layers with many inputs, instead of a dropout before them.
    Avoid when: layers have few inputs or a few large ones, whose sum is not nearly Gaussian.
    Start with: 0.5, as dropout before the layer.
    Cost: a second matrix product, and a normal number per output; the standard deviations are kept for backward.
    Other implementations: none that is maintained. Local reparametrisation (Kingma et al. 2015, arXiv:1506.02557) is the same
        step.

    Args:
        layer: Linear.
        p: the rate of the dropout that it replaces; rounded to 1/65536.

    Shapes: `(..., in)` to `(..., out)`.

    Raises:
        ValueError: `p` is not in [0, 1).
        TypeError: `layer` is of another class.

    Source: Wang and Manning 2013, ICML, PMLR 28(2):118.

    >>> FastDropout(nn.Linear(3, 2), 0.2)(torch.randn(4, 3)).shape
    torch.Size([4, 2])
    """

    layers = (nn.Linear,)
    below_one = True

    def bare_in_eval(self) -> bool:
        return True

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        return self.layer(x) if key is None else _drop(key, x, self.layer)

    def moments(self, m: Moments) -> Moments:
        """Returns the moments of the output for those of the input."""
        return moments.layer(moments.dropout(m, self.p or 0.0), self.layer)


METHODS = (Method(FACTS, FastDropout, fast_dropout),)
