"""Standout: the probability to keep a unit is a function of its own pre-activation."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from thinnet.methods.call import draw_key as key_for
from thinnet.methods.call import no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import real, weighted
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey

Activation = Callable[[Tensor], Tensor]
Reading = Literal["logit", "weights"]


def keep_probability(
    x: Tensor,
    z: Tensor,
    bias: Tensor | None,
    alpha: float = 1.0,
    beta: float = 0.0,
    reading: Reading = "logit",
) -> Tensor:
    """Returns pi for each unit, from the layer's input `x` and its output `z`, in float32 or better.

    >>> x, z = torch.tensor([[2.0, 1.0]]), torch.tensor([[0.0]])
    >>> keep_probability(x, z, None).item(), round(keep_probability(x, z, None, beta=1.0, reading="weights").item(), 3)
    (0.5, 0.953)
    """
    wide = torch.promote_types(z.dtype, torch.float32)
    if reading == "logit":
        return torch.sigmoid(alpha * z.to(wide) + beta)
    product = z.to(wide) if bias is None else z.to(wide) - bias.to(wide)
    return torch.sigmoid(alpha * product + beta * x.to(wide).sum(-1, keepdim=True))


def _parts(x: Tensor, layer: nn.Linear, activation: Activation, **decides) -> tuple[Tensor, Tensor]:
    """Returns f(z) and pi of a layer, in the dtype of `x`."""
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    z = nn.functional.linear(x, layer.weight.to(x.dtype), bias)
    return activation(z), keep_probability(x, z, bias, **decides)


def definition(x: Tensor, u: Tensor, p: float | None = None, *, layer, activation=torch.relu, **decides) -> Tensor:
    """Returns f(z) where u >= 1 - pi, zeros elsewhere. `p` is ignored."""
    h, pi = _parts(x, layer, activation, **decides)
    return torch.where(u >= 1 - pi.detach(), h, 0)


def mean(x: Tensor, p: float | None = None, *, layer, activation=torch.relu, **decides) -> Tensor:
    """Returns pi f(z)."""
    h, pi = _parts(x, layer, activation, **decides)
    return pi * h


def variance(x: Tensor, p: float | None = None, *, layer, activation=torch.relu, **decides) -> Tensor:
    """Returns pi (1 - pi) f(z)^2."""
    h, pi = _parts(x, layer, activation, **decides)
    return pi * (1 - pi) * h * h


FACTS = Facts(
    domain="no rate: each unit has its own",
    mean=mean,
    variance=variance,
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, *, layer, **_: (*shape[:-1], layer.out_features),
    in_eval=mean,
)


def _check(function: str, alpha: float, beta: float, reading: str) -> None:
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not -float("inf") < real(value) < float("inf"):
            raise ValueError(f"{function}: {name} must be a finite number; got {value!r}. Start with alpha=1.0, beta=0.0.")
    if reading not in get_args(Reading):
        raise ValueError(f"{function}: reading must be 'logit' or 'weights'; got {reading!r}. 'logit' adds beta to the logit.")


def _run(key: NoiseKey | None, x: Tensor, layer: nn.Linear, activation: Activation, *decides) -> Tensor:
    z = layer(x)
    if key is None:
        h = activation(z)
        return weighted(keep_probability(x, z, layer.bias, *decides), h).to(h.dtype)
    with torch.no_grad():
        kept = key.uniform(z.shape) >= 1 - keep_probability(x, z, layer.bias, *decides)
    return torch.where(kept, activation(z), 0)


def standout(
    x: Tensor,
    layer: nn.Linear,
    activation: Activation = torch.relu,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    reading: Reading = "logit",
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `Standout`.

    Args:
        x: `(..., in_features)`, real.
        training: whether to drop; if not, pi f(z) is returned, with its full gradient.
        generator: source of the seed; by default torch's generator of the device.

    >>> standout(torch.randn(5, 3), nn.Linear(3, 4), training=True).shape
    torch.Size([5, 4])
    """
    if not isinstance(x, Tensor):
        return no_tensor(standout, locals())
    _check("standout", alpha, beta, reading)
    key = key_for("standout", x, 0.5, training, generator)  # the rate is not asked for: each unit has its own
    return _run(key, x, layer, activation, alpha, beta, reading)


class Standout(Wrapped):
    """Keeps each unit of a linear layer and its activation with a probability that depends on the unit's pre-activation.

        h = m f(z),  m ~ Bernoulli(pi),  pi = sigmoid(alpha z + beta),  z = W x + b   in training
        h = pi f(z)                                                                   in eval: the exact expectation

    pi uses the weights of the layer itself, and kept units are not scaled. In training, no gradient flows through the mask or
    pi; the weights get the gradient of f(z) only. The `state_dict` has the keys of the layer. Units have different rates, so
    `p` is None.

    The paper writes the weights of pi as alpha W + beta, which can mean two things. `reading="logit"` adds beta to the logit,
    as above, so a lower beta makes the layer sparser. `reading="weights"` adds beta to each weight and omits the bias:
    pi = sigmoid((alpha W + beta) x). The logit then shifts by beta sum(x).

    Noise shape: one decision per element of the output, at its own probability.
    Use when: in place of a hidden layer and its activation, in fully connected networks and auto-encoders.
    Avoid when: in the last layer; or code expects the output of the plain layer in eval mode.
    Start with: alpha = 1, beta = 0; a lower beta keeps fewer units.
    Cost: twice the random bits of dropout and a sigmoid; one byte per unit is kept for backward.
    Other implementations: Lasagne code by gngdb, which adds beta to each weight, as reading="weights" does.

    Args:
        layer: the linear layer that computes z and pi.
        activation: f, a function or a module.
        alpha: slope of the logit; at 0 all units have the rate sigmoid(-beta).
        beta: offset of the logit.
        reading: "logit" adds beta to the logit; "weights" adds it to each weight: pi = sigmoid((alpha W + beta) x).

    Shapes: `(..., in_features)` to `(..., out_features)`.

    Raises:
        TypeError: `layer` is not linear.
        ValueError: `alpha` or `beta` is not finite, or `reading` is invalid.

    Source: Ba and Frey 2013, NeurIPS, "Adaptive dropout for training deep neural networks".

    >>> layer = Standout(nn.Linear(3, 4), torch.tanh, beta=-1.0)
    >>> layer(torch.randn(5, 3)).shape, list(layer.state_dict())
    (torch.Size([5, 4]), ['weight', 'bias'])
    """

    layers = (nn.Linear,)
    one_rate = False

    def __init__(
        self,
        layer: nn.Linear,
        activation: Activation = torch.relu,
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
        reading: Reading = "logit",
    ) -> None:
        super().__init__(layer, p=None)
        _check("Standout", alpha, beta, reading)
        self.activation, self.alpha, self.beta, self.reading = activation, alpha, beta, reading

    def drop(self, x: Tensor) -> Tensor:
        return _run(self.key(x), x, self.layer, self.activation, self.alpha, self.beta, self.reading)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}, reading={self.reading!r}"


def _identity(size: int) -> nn.Linear:
    """Returns a layer that changes nothing, so that the picture shows the mask."""
    layer = nn.Linear(size, size, bias=False)
    layer.weight = nn.Parameter(torch.eye(size), requires_grad=False)
    return layer


METHODS = (
    Method(FACTS, Standout, standout, lambda x: standout(x, _identity(x.shape[1]), alpha=8.0, beta=-2.0, training=True)),
)
