"""Learned dropout: learns a rate for each unit, with masks that are exactly zero or one."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thinnet.methods.call import no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.learned import rate
from thinnet.methods.learned.penalty import Penalised
from thinnet.methods.numbers import in_format_of, times, wide
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey

Estimator = Literal["reinmax", "straight_through"]


def checked(function: str, estimator: object) -> Estimator:
    """Returns the name of an estimator, or raises a ValueError."""
    if estimator not in ("reinmax", "straight_through"):
        raise ValueError(f"{function}: estimator must be 'reinmax' or 'straight_through'; got {estimator!r}.")
    return estimator  # type: ignore[return-value]


def slope(kept: Tensor, p: Tensor, estimator: Estimator) -> Tensor:
    """Returns what stands for the derivative of a mask by the logit of its rate p, given the mask.

    It is -p (1 - p) for "straight_through". For "reinmax" its mean is that too, and products of two masks get the exact mean.
    """
    plain = p * (1 - p)
    if estimator == "straight_through":
        return -plain
    half = (kept + 1 - p) / 2
    return plain / 2 - 2 * half * (1 - half)


def definition(x: Tensor, u: Tensor, p: Any, estimator: Estimator = "reinmax") -> Tensor:
    """Returns x m / (1 - p) with m = 1 where u >= p, whose derivative by the rate is that of the estimator."""
    p = torch.as_tensor(p, dtype=x.dtype)
    kept, fixed = (u >= p).to(x.dtype), p.detach()
    by_rate = slope(kept, fixed, estimator) / (fixed * (1 - fixed))
    return x * (kept + by_rate * (p - fixed)) / (1 - p)


FACTS = Facts(
    domain="(0, 1), learned",
    mean=lambda x, p, estimator="reinmax": x,
    variance=lambda x, p, estimator="reinmax": x * x * p / (1 - p),
    definition=definition,
    noise="uniform",
)


def _drop(key: NoiseKey, x: Tensor, odds: Tensor, estimator: Estimator) -> Tensor:
    """Returns x m / (1 - p) with `odds` the logit of p; 1 / (1 - p) is 1 + exp(logit p)."""
    p, scale = odds.detach().sigmoid(), 1 + odds.exp()
    kept = (key.uniform(x.shape) >= p).to(wide(x))
    y = torch.where(kept > 0, times(x, scale), 0)
    by_rate = slope(kept, p, estimator) * scale.detach() * (odds - odds.detach())  # zero, with the slope as derivative
    return in_format_of(x, y + times(torch.where(x.isfinite(), x, 0).detach(), by_rate))


def learned_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    estimator: Estimator = "reinmax",
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `LearnedDropout`. Returns x m / (1 - p), without a layer.

    Args:
        x: any shape; real.
        p: the rate, in [0, 1), not rounded; a tensor broadcasts, and gets a gradient if it requires one.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> p = torch.full((100,), 0.3, requires_grad=True)
    >>> learned_dropout(torch.ones(100), p, training=True).square().mean().backward()
    >>> bool((p.grad != 0).any())
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(learned_dropout, locals())
    estimator = checked("learned_dropout", estimator)
    drawn = rate.draw_key("learned_dropout", x, p, 1, training, generator)
    if drawn is None:
        return x
    key, number = drawn
    return _drop(key, x, torch.logit(number), estimator)


class LearnedDropout(Penalised, Wrapped):
    """Drops inputs of a layer with a learned rate for each of them. Needs `thinnet.penalty` in the loss.

        y = layer(x m / (1 - p)),  m[d] ~ Bernoulli(1 - p[d]),  p = sigmoid(logit)
        penalty = sum over d of (l^2 / 2 ||theta[d]||^2 / (1 - p[d]) - H(p[d])) / N

    theta[d] are the weights that read input d, H the entropy of Bernoulli(p). The masks are zeros and ones, so E[y] of a linear
    layer is exact, unlike that of ConcreteDropout. A mask has no derivative; the estimator stands for it. ReinMax is exact on
    average for losses up to second order in each mask, straight-through for those of first order.

    Noise shape: one decision per element of a linear layer's input; the samples share the rates and not the masks.
    Use when: the inputs of a layer differ in how much they are needed, and one rate for all is too much for some.
    Avoid when: thinnet.penalty is not in the loss: then the rates only fall; or a grid of fixed rates can be afforded.
    Start with: p = 0.5, length 1e-4, and a learning rate of 0.01 or more for the logits.
    Cost: a uniform number, a comparison and two stored numbers per decision, and the squares of the layer's weights.
    Other implementations: the authors' code of ReinMax for categorical variables; none for dropout.

    Args:
        layer: `nn.Linear`, which reads the thinned input; the penalty covers its weights, not its bias.
        p: initial rate of all inputs, in (0, 1); `learned_p` are the current ones.
        length: l, the length scale of the prior on the weights; above 0.
        estimator: "reinmax" or "straight_through".

    Shapes: those of the layer.

    Raises: ValueError if `p` is not in (0, 1), `length` not above 0 or `estimator` unknown; TypeError if `layer` is no
        `nn.Linear`.

    Source: rates by unit: Boluki et al. 2020, "Learnable Bernoulli dropout for Bayesian deep learning", AISTATS,
        arXiv:2002.05155; the estimator: Liu et al. 2023, "Bridging discrete and backpropagation", NeurIPS, arXiv:2304.08612.

    >>> layer = LearnedDropout(nn.Linear(4, 2), p=0.2)
    >>> list(layer.state_dict()), layer.learned_p.shape
    (['logit', 'weight', 'bias'], torch.Size([4]))
    """

    layers = (nn.Linear,)
    estimator: Estimator

    def __init__(self, layer: nn.Linear, p: float = 0.5, length: float = 1e-4, estimator: Estimator = "reinmax") -> None:
        odds = rate.logit("LearnedDropout", p)
        super().__init__(layer, None)
        self.length = rate.within("LearnedDropout", "length", length, math.inf)
        self.estimator = checked("LearnedDropout", estimator)
        weight = self.layer.weight
        self.logit = nn.Parameter(torch.full(weight.shape[1:], odds, dtype=weight.dtype, device=weight.device))

    @property
    def learned_p(self) -> Tensor:
        """The current rates, with gradient."""
        return self.logit.sigmoid()

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        return self.layer(x if key is None else _drop(key, x, self.logit.to(wide(x)), self.estimator))

    def penalty(self, samples: int) -> Tensor:
        """Returns the divergence of rates and weights from their prior, over N."""
        odds = self.logit.to(wide(self.logit))
        squares = self.layer.weight.to(odds.dtype).square().sum(0) * (1 + odds.exp())
        p = odds.sigmoid()
        entropy = -p * F.logsigmoid(odds) - (1 - p) * F.logsigmoid(-odds)
        return (self.length**2 / 2 * squares - entropy).sum() / samples

    def extra_repr(self) -> str:
        p = self.learned_p
        return f"p={p.min().item():.3g} to {p.max().item():.3g}, length={self.length:g}, estimator={self.estimator!r}"


METHODS = (Method(FACTS, LearnedDropout, learned_dropout, lambda x: learned_dropout(x, 0.3, training=True)),)
