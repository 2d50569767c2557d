"""Concrete dropout: the rate of each layer is learned with its weights, as the coins are relaxed to have a gradient in it.

    y = x (1 - d) / (1 - p),  d = sigmoid((logit p + logit u) / t),  u ~ Uniform(0, 1)

penalty N = l^2 / 2 ||theta||^2 / (1 - p) - D H(p): theta the weights of the layer behind, D its inputs, H a coin's entropy.
Gal, Hron, Kendall 2017, arXiv:1705.07832.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thinnet.methods.facts import Facts, Method
from thinnet.methods.learned import rate
from thinnet.methods.learned.penalty import Penalised
from thinnet.methods.noise_shapes import channels, noise_shape_of
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey

DENSE, SPATIAL = 0.1, 2 / 3  # temperatures


def definition(x: Tensor, u: Tensor, p: float, temperature: float = DENSE, **_: object) -> Tensor:
    """Returns x (1 - d) / (1 - p)."""
    odds = math.log(p) - math.log(1 - p) + torch.log(u) - torch.log(1 - u)
    return x * (1 - torch.sigmoid(odds / temperature)) / (1 - p)


def _moment(p: float, temperature: float, power: int) -> float:
    """Returns E[((1 - d) / (1 - p))^power] by the trapezoidal rule over v = logit u, whose error is far below float32's."""
    v = torch.linspace(-45, 45, 20_001, dtype=torch.float64)
    kept = torch.sigmoid(-(v + math.log(p) - math.log1p(-p)) / temperature) / (1 - p)
    return float(torch.trapezoid(kept**power * torch.sigmoid(v) * torch.sigmoid(-v), v))


def _mean(x: Tensor, p: float, temperature: float = DENSE, **_: object) -> Tensor:
    return x * _moment(p, temperature, 1)


def _variance(x: Tensor, p: float, temperature: float = DENSE, **_: object) -> Tensor:
    return x * x * (_moment(p, temperature, 2) - _moment(p, temperature, 1) ** 2)


def _noise_shape(shape: tuple[int, ...], spatial: bool = False, **_: object) -> tuple[int, ...]:
    return noise_shape_of(channels)(shape) if spatial else tuple(shape)


FACTS = Facts(
    name="Concrete dropout",
    summary="Multiplies each element of a layer's input by a relaxed coin, whose rate is learned with the layer's weights.",
    equation="y = x (1 - d) / (1 - p),  d = sigmoid((logit p + logit u) / t),  u ~ Uniform(0, 1)",
    paper="Gal, Hron, Kendall 2017, arXiv:1705.07832",
    grain="element of the input of a linear layer; channel of that of a convolution",
    place="around every layer with weights, to find dropout's rates in one run, or where uncertainty is asked for",
    avoid="without thinnet.penalty in the loss, where the rates only fall; where exact zeros or an exact expectation matter",
    default="p = 0.1, length 1e-4, temperature 0.1 (linear) or 2/3 (convolution); a larger learning rate for the logits, as"
    " steps of 0.001 take two thousand from p = 0.1 to 0.4",
    cost="a logarithm, an exponential and two numbers kept for backward per coin, and the sum of the layer's squared weights",
    elsewhere="the authors' notebooks and packages after them, on at test unless told otherwise; here eval is the bare layer,"
    " and what samples, samples in train mode. E[y] is 0.999 x at p = 0.1 and t = 0.1, and 0.95 x at t = 2/3, as E[d] is not p",
    domain="(0, 1), learned",
    mean=_mean,
    variance=_variance,
    definition=definition,
    noise="uniform",
    noise_shape=_noise_shape,
)


def _drop(key: NoiseKey, x: Tensor, odds: Tensor, temperature: float, shared: tuple[int, ...]) -> Tensor:
    """Returns x (1 - d) / (1 - p) with the logit of p as `odds`; 1 / (1 - p) is 1 + exp(logit p)."""
    u = key.uniform([1 if axis in shared else size for axis, size in enumerate(x.shape)]).to(rate.wide(x))
    kept = torch.sigmoid((odds + torch.log(u) - torch.log1p(-u)) / -temperature)
    return rate.times(x, kept * (1 + odds.exp()))


def concrete_dropout(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    temperature: float = DENSE,
    spatial: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Multiplies each element of `x` by a relaxed coin, (1 - d) / (1 - p), through which `p` has a gradient.

    d = sigmoid((logit p + logit u) / t), with u ~ Uniform(0, 1); the smaller t, the nearer it is to dropout's coin.

    Args:
        x: any shape, batch first; floating point or complex. `(N, C, ...)` if `spatial`.
        p: the rate, which nothing rounds; a tensor of it may require grad, and broadcasts.
        temperature: t, above 0.
        spatial: whether a channel of a sample shares its coin.
        training: whether coins are tossed. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`.

    Raises:
        ValueError: `p` is not in [0, 1), or `temperature` not above 0.
        TypeError: `x` is an integer, bool, quantised or sparse tensor.

    Source: Gal, Hron, Kendall 2017, arXiv:1705.07832.

    >>> p = torch.tensor(0.3, requires_grad=True)
    >>> concrete_dropout(torch.ones(100), p, training=True).var().backward()
    >>> bool(p.grad > 0)
    True
    """
    rate.within("concrete_dropout", "temperature", temperature, math.inf)
    drawn = rate.draw_key("concrete_dropout", x, p, 1, training, generator)
    if drawn is None:
        return x
    key, number = drawn
    return _drop(key, x, torch.logit(number), temperature, channels(x.ndim) if spatial else ())


class ConcreteDropout(Penalised, Wrapped):
    """Puts dropout with a learned rate before a layer; in eval it is the layer. Needs `thinnet.penalty` in the loss.

    y = layer(x (1 - d) / (1 - p)), d = sigmoid((logit p + logit u) / t);
    penalty = (l^2 / 2 ||theta||^2 / (1 - p) - D H(p)) / N, with D inputs and H the entropy of a coin.
    The authors write the penalty for a loss that is a squared error: l^2 / (tau N) and 2 / (tau N) in front of its terms. It is
    that with `thinnet.penalty(model, samples=N, precision=tau)`. A checkpoint has the keys of the layer, and `logit`.

    Args:
        layer: what reads the noisy input: its weights, and not its bias, are in the penalty. Around a convolution a channel
            shares its coin.
        p: the rate that learning starts from, in (0, 1); `learned_p` is what it is now.
        length: l, the length scale of the prior on the weights; above 0.
        temperature: t, above 0: 0.1, and 2/3 around a convolution, if left out.

    Shapes: those of the layer.

    Raises:
        ValueError: `p` is not in (0, 1), or another number not above 0.
        TypeError: `layer` is neither `nn.Linear` nor a convolution.

    Source: Gal, Hron, Kendall 2017, arXiv:1705.07832.

    >>> layer = ConcreteDropout(nn.Linear(4, 2), p=0.2)
    >>> list(layer.state_dict()), round(layer.learned_p.item(), 4)
    (['logit', 'weight', 'bias'], 0.2)
    """

    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

    def __init__(self, layer: nn.Module, p: float = 0.1, length: float = 1e-4, temperature: float | None = None) -> None:
        name = type(self).__name__
        odds = rate.logit(name, p)
        super().__init__(layer, None)
        self.spatial = not isinstance(layer, nn.Linear)
        self.length = rate.within(name, "length", length, math.inf)
        default = SPATIAL if self.spatial else DENSE
        self.temperature = default if temperature is None else rate.within(name, "temperature", temperature, math.inf)
        weight = self.layer.weight
        self.logit = nn.Parameter(torch.full((), odds, dtype=weight.dtype, device=weight.device))

    @property
    def learned_p(self) -> Tensor:
        """The probability of dropping, as it is learned so far: a scalar with gradient."""
        return self.logit.sigmoid()

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        if key is None:
            return self.layer(x)
        shared = tuple(range(x.ndim - self.layer.weight.ndim + 2, x.ndim)) if self.spatial else ()
        return self.layer(_drop(key, x, self.logit.to(rate.wide(x)), self.temperature, shared))

    def penalty(self, samples: int) -> Tensor:
        """Returns the divergence of the coins and weights from their prior, over N."""
        odds, weight = self.logit.to(rate.wide(self.logit)), self.layer.weight
        squares = weight.to(odds.dtype).square().sum() * (1 + odds.exp())
        p = odds.sigmoid()
        entropy = -p * F.logsigmoid(odds) - (1 - p) * F.logsigmoid(-odds)
        features = self.layer.in_channels if self.spatial else self.layer.in_features
        return (self.length**2 / 2 * squares - features * entropy) / samples

    def extra_repr(self) -> str:
        return f"p={self.learned_p.item():.3g}, length={self.length:g}, temperature={self.temperature:.3g}"


METHODS = (
    Method(
        FACTS,
        ConcreteDropout,
        concrete_dropout,
        lambda x: concrete_dropout(x, 0.3, training=True),
    ),
)
