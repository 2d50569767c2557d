"""Concrete dropout: learns the rate of each layer with its weights."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thinnet.methods.call import no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.learned import rate
from thinnet.methods.learned.penalty import Penalised
from thinnet.methods.noise_shapes import channels, noise_shape_of
from thinnet.methods.numbers import times, wide
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey

DENSE, SPATIAL = 0.1, 2 / 3  # temperatures


def definition(x: Tensor, u: Tensor, p: float, temperature: float = DENSE, **_: object) -> Tensor:
    """Returns x (1 - d) / (1 - p)."""
    odds = torch.logit(torch.as_tensor(p, dtype=x.dtype)) + torch.log(u) - torch.log(1 - u)
    return x * (1 - torch.sigmoid(odds / temperature)) / (1 - p)


def _moment(p: float, temperature: float, power: int) -> float:
    """Returns E[((1 - d) / (1 - p))^power] by the trapezoidal rule over v = logit u; its error is far below float32's."""
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
    domain="(0, 1), learned",
    mean=_mean,
    variance=_variance,
    definition=definition,
    noise="uniform",
    noise_shape=_noise_shape,
)


def _drop(key: NoiseKey, x: Tensor, odds: Tensor, temperature: float, shared: tuple[int, ...]) -> Tensor:
    """Returns x (1 - d) / (1 - p) with `odds` the logit of p; 1 / (1 - p) is 1 + exp(logit p)."""
    u = key.uniform([1 if axis in shared else size for axis, size in enumerate(x.shape)]).to(wide(x))
    kept = torch.sigmoid((odds + torch.log(u) - torch.log1p(-u)) / -temperature)
    return times(x, kept * (1 + odds.exp()))


def concrete_dropout(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    temperature: float = DENSE,
    spatial: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `ConcreteDropout`. Returns the noisy input x (1 - d) / (1 - p), without a layer.

    Args:
        x: any shape, batch first; floating point or complex. `(N, C, ...)` if `spatial`.
        p: the rate, in [0, 1), not rounded; a tensor broadcasts, and gets a gradient if it requires one.
        temperature: t, above 0; the smaller, the closer to dropout.
        spatial: whether a channel of a sample shares its noise.
        training: whether to apply noise; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> p = torch.tensor(0.3, requires_grad=True)
    >>> concrete_dropout(torch.ones(100), p, training=True).var().backward()
    >>> bool(p.grad > 0)
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(concrete_dropout, locals())
    rate.within("concrete_dropout", "temperature", temperature, math.inf)
    drawn = rate.draw_key("concrete_dropout", x, p, 1, training, generator)
    if drawn is None:
        return x
    key, number = drawn
    return _drop(key, x, torch.logit(number), temperature, channels(x.ndim) if spatial else ())


class ConcreteDropout(Penalised, Wrapped):
    """Applies relaxed dropout with a learned rate to the input of a layer. Needs `thinnet.penalty` in the loss.

        y = layer(x (1 - d) / (1 - p)),  d = sigmoid((logit p + logit u) / t),  u ~ Uniform(0, 1)
        penalty = (l^2 / 2 ||theta||^2 / (1 - p) - D H(p)) / N

    theta are the weights of the layer, D its inputs, H the entropy of Bernoulli(p). The authors write the penalty for a squared
    error, with factors l^2 / (tau N) and 2 / (tau N): `thinnet.penalty(model, samples=N, precision=tau)` gives that. E[y] is
    0.999 x at p = 0.1 and t = 0.1, and 0.95 x at t = 2/3, because E[d] is not p. In eval it is the layer; to sample, use train
    mode. A checkpoint has the keys of the layer, and `logit`.

    Noise shape: one number per element of a linear layer's input, or per channel of a convolution's.
    Use when: around every layer with weights, to find dropout rates in one run, or for uncertainty.
    Avoid when: thinnet.penalty is not in the loss: then the rates only fall; or exact zeros or an exact expectation matter.
    Start with: p = 0.1, length 1e-4, temperature 0.1 (linear) or 2/3 (convolution); a larger learning rate for the logits,
        because steps of 0.001 need two thousand steps from p = 0.1 to 0.4.
    Cost: a logarithm, an exponential and two stored numbers per decision, and the sum of the layer's squared weights.
    Other implementations: the authors' notebooks and packages based on them, which drop at test time by default.

    Args:
        layer: the layer that reads the noisy input; the penalty covers its weights, not its bias.
        p: initial rate, in (0, 1); `learned_p` is the current one.
        length: l, the length scale of the prior on the weights; above 0.
        temperature: t, above 0; None means 0.1, and 2/3 for a convolution.

    Shapes: those of the layer.

    Raises: ValueError if `p` is not in (0, 1), or another number is not above 0; TypeError if `layer` is neither `nn.Linear`
        nor a convolution.

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
        """The current rate: a scalar with gradient."""
        return self.logit.sigmoid()

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        if key is None:
            return self.layer(x)
        shared = tuple(range(x.ndim - self.layer.weight.ndim + 2, x.ndim)) if self.spatial else ()
        return self.layer(_drop(key, x, self.logit.to(wide(x)), self.temperature, shared))

    def penalty(self, samples: int) -> Tensor:
        """Returns the divergence of rate and weights from their prior, over N."""
        odds, weight = self.logit.to(wide(self.logit)), self.layer.weight
        squares = weight.to(odds.dtype).square().sum() * (1 + odds.exp())
        p = odds.sigmoid()
        entropy = -p * F.logsigmoid(odds) - (1 - p) * F.logsigmoid(-odds)
        features = self.layer.in_channels if self.spatial else self.layer.in_features
        return (self.length**2 / 2 * squares - features * entropy) / samples

    def extra_repr(self) -> str:
        return f"p={self.learned_p.item():.3g}, length={self.length:g}, temperature={self.temperature:.3g}"


METHODS = (Method(FACTS, ConcreteDropout, concrete_dropout, lambda x: concrete_dropout(x, 0.3, training=True)),)
