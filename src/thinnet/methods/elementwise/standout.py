"""Standout: a unit is kept with a probability that its own pre-activation gives, so that strong units stand out.

    h = m f(z),  m ~ Bernoulli(pi),  pi = sigmoid(alpha z + beta),  z = W x + b        in training
    h = pi f(z)                                                                       in eval, the exact expectation

The weights of pi are the layer's own: the network that decides is tied to the one that computes. Nothing is scaled by 1 / pi.
Ba, Frey 2013, NeurIPS, "Adaptive dropout for training deep neural networks".

The paper writes the deciding weights as alpha W + beta, which is read in two ways. `reading="logit"` shifts the logit, as
above: beta sets how sparse the layer is. `reading="weights"` adds beta to each weight and leaves the bias out,
pi = sigmoid((alpha W + beta) x): its shift is beta sum(x), and changes sign with it.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from thinnet.methods.call import draw_key as key_for
from thinnet.methods.facts import Facts, Method
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
    """Returns pi of each unit, from the layer's input `x` and its output `z`, in float32 or better.

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
    """Returns f(z) where u >= 1 - pi, zeros elsewhere. There is no rate `p`."""
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
    name="Standout",
    summary="Keeps each unit with a probability that is a sigmoid of its own pre-activation; eval is the expectation.",
    equation="h = m f(z),  m ~ Bernoulli(pi),  pi = sigmoid(alpha z + beta),  z = W x + b",
    paper="Ba and Frey 2013, NeurIPS",
    grain="element of the output, at its own probability",
    place="in place of a hidden layer and its activation, in fully connected networks and auto-encoders",
    avoid="the last layer; before code that expects the layer itself in eval: there it is pi f(z)",
    default="alpha = 1, beta = 0; a lower beta keeps fewer units",
    cost="one word of noise and a sigmoid a unit; one byte a unit is kept for backward",
    elsewhere="no library. Lasagne code by gngdb adds beta to each weight, here reading='weights'",
    domain="no rate: it is that of each unit",
    mean=mean,
    variance=variance,
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, *, layer, **_: (*shape[:-1], layer.out_features),
    in_eval=mean,
)


def _check(function: str, alpha: float, beta: float, reading: str) -> None:
    for name, value in (("alpha", alpha), ("beta", beta)):
        if isinstance(value, (bool, str)) or not -float("inf") < value < float("inf"):
            raise ValueError(f"{function}: {name} must be a finite number; got {value!r}. Start with alpha=1.0, beta=0.0.")
    if reading not in get_args(Reading):
        raise ValueError(f"{function}: reading must be 'logit' or 'weights'; got {reading!r}. 'logit' adds beta to the logit.")


def _run(key: NoiseKey | None, x: Tensor, layer: nn.Linear, activation: Activation, *decides) -> Tensor:
    z = layer(x)
    if key is None:
        h = activation(z)
        return (keep_probability(x, z, layer.bias, *decides) * h).to(h.dtype)
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
    """Returns a layer and its activation with units kept at sigmoid(alpha z + beta), and in eval their expectation.

    h = m f(z), with m ~ Bernoulli(pi), pi = sigmoid(alpha z + beta) and z = W x + b; in eval h = pi f(z).

    Args:
        x: `(..., in_features)`, real.
        layer: the linear layer that gives z, and pi by the same weights.
        activation: f, of any kind.
        alpha: how sharply the pre-activation decides; at 0 all units have the rate sigmoid(-beta).
        beta: how likely units are kept in general.
        reading: "logit" adds beta to the logit; "weights" adds it to each weight: pi = sigmoid((alpha W + beta) x).
        training: whether coins are tossed. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: `(..., out_features)`. In training no gradient goes through pi; in eval the one of pi f(z) does.

    Raises: ValueError where `alpha` or `beta` is not finite, or `reading` is another word.

    Source: Ba and Frey 2013, NeurIPS.

    >>> standout(torch.randn(5, 3), nn.Linear(3, 4), training=True).shape
    torch.Size([5, 4])
    """
    _check("standout", alpha, beta, reading)
    key = key_for("standout", x, 0.5, training, generator)  # the rate is not asked for: each unit has its own
    return _run(key, x, layer, activation, alpha, beta, reading)


class Standout(Wrapped):
    """A linear layer and its activation whose units are kept at sigmoid(alpha z + beta) in training; pi f(z) in eval.

    h = m f(z), with m ~ Bernoulli(pi), pi = sigmoid(alpha z + beta) and z = W x + b; in eval h = pi f(z).

    In training no gradient goes through the mask or pi, so the weights learn from f(z) alone. The `state_dict` has the keys
    of the bare layer. There is no one rate: `p` is None.

    Args:
        layer: the linear layer that gives z, and pi by the same weights.
        activation: f, of any kind; a module is part of this one.
        alpha: how sharply the pre-activation decides; at 0 all units have the rate sigmoid(-beta).
        beta: how likely units are kept in general.
        reading: "logit" adds beta to the logit; "weights" adds it to each weight: pi = sigmoid((alpha W + beta) x).

    Shapes: `(..., in_features)` in, `(..., out_features)` out.

    Raises:
        TypeError: `layer` is not linear.
        ValueError: `alpha` or `beta` is not finite, or `reading` is another word.

    Source: Ba and Frey 2013, NeurIPS.

    >>> layer = Standout(nn.Linear(3, 4), torch.tanh, beta=-1.0)
    >>> layer(torch.randn(5, 3)).shape, list(layer.state_dict())
    (torch.Size([5, 4]), ['weight', 'bias'])
    """

    layers = (nn.Linear,)

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
        """Runs the layer, and tosses a coin for each unit of its output at the unit's probability."""
        return _run(self.key(x), x, self.layer, self.activation, self.alpha, self.beta, self.reading)

    def extra_repr(self) -> str:
        """Returns how the units decide."""
        return f"alpha={self.alpha}, beta={self.beta}, reading={self.reading!r}"


def _identity(size: int) -> nn.Linear:
    """Returns a layer that changes nothing, so that the picture shows the mask."""
    layer = nn.Linear(size, size, bias=False)
    layer.weight = nn.Parameter(torch.eye(size), requires_grad=False)
    return layer


METHODS = (
    Method(
        FACTS,
        Standout,
        standout,
        lambda x: standout(x, _identity(x.shape[1]), alpha=8.0, beta=-2.0, training=True),
    ),
)
