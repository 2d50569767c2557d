"""Variational dropout, type A: Gaussian dropout with a learned variance."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from thinnet.methods.call import no_tensor
from thinnet.methods.elementwise import gaussian_dropout
from thinnet.methods.facts import Facts, Method
from thinnet.methods.learned import rate
from thinnet.methods.learned.penalty import Penalised
from thinnet.methods.numbers import times, wide
from thinnet.ops import units
from thinnet.ops.autograd import EagerFunction
from thinnet.rng import NoiseKey

CUBIC = (1.16145124, -1.50204118, 0.58629921)
MOST = 0.5  # the rate where alpha is 1


def divergence(log_alpha: Tensor) -> Tensor:
    """Returns KL(N(1, alpha) || log-uniform) up to a constant, by the published cubic, for alpha <= 1.

    KL = -(0.5 log alpha + c1 alpha + c2 alpha^2 + c3 alpha^3), within 0.05 of the integral. It falls there.

    >>> round(float(divergence(torch.zeros(()))), 4)
    -0.2457
    """
    alpha = log_alpha.exp()
    return -(0.5 * log_alpha + alpha * (CUBIC[0] + alpha * (CUBIC[1] + alpha * CUBIC[2])))


class _AtMostZero(torch.autograd.Function):
    """min(x, 0), whose backward stops gradients that increase x further and passes those that decrease it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clamp(max=0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return torch.where((x > 0) & (gradient < 0), 0, gradient)


def at_most_zero(log_alpha: Tensor) -> Tensor:
    """Returns log alpha, at most 0, in at least float32."""
    return _AtMostZero.apply(log_alpha.to(wide(log_alpha)))  # type: ignore[return-value]


def log_alpha_of(function: str, p: float) -> float:
    """Returns log(p / (1 - p)) of an initial rate in (0, 0.5]."""
    value = rate.within(function, "p", p, MOST, closed=True)
    return math.log(value) - math.log1p(-value)


FACTS = Facts(
    domain="(0, 0.5], learned",
    expected_drop=lambda p, **_: 0.0,
    mean=lambda x, p, **_: x,
    variance=lambda x, p, **_: x * x * p / (1 - p),
    definition=lambda x, z, p, **_: gaussian_dropout.definition(x, z, p),
    noise="normal",
)


def _drop(key: NoiseKey, x: Tensor, sigma: Tensor) -> Tensor:
    number = x.dtype in units.DTYPES and sigma.dtype == torch.float32
    if number and key.part is None and _broadcasts(sigma, x) and units.served(x, key.address):
        return GaussianUnits.apply(x, sigma, key)  # type: ignore[attr-defined]
    return _composed(key, x, sigma)


def _broadcasts(sigma: Tensor, x: Tensor) -> bool:
    """Returns whether the result has the shape of `x`."""
    return sigma.ndim <= x.ndim and all(n in (1, m) for n, m in zip(sigma.shape[::-1], x.shape[::-1], strict=False))


def _composed(key: NoiseKey, x: Tensor, sigma: Tensor) -> Tensor:
    return times(x, 1 + sigma * key.normal(x.shape))


class GaussianUnits(EagerFunction):
    """x (1 + sigma z), which draws z again for the gradients of both."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sigma: Tensor, key: NoiseKey) -> Tensor:
        ctx.save_for_backward(x, sigma)
        ctx.key = key
        return units.gaussian_units(x, sigma, key.address)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        (x, sigma), key, gradient = ctx.saved_tensors, ctx.key, gradients[0].contiguous()
        if torch.is_grad_enabled():  # somebody differentiates the gradient
            wanted = [each for each, needed in zip((x, sigma), ctx.needs_input_grad, strict=False) if needed]
            found = iter(torch.autograd.grad(_composed(key, x, sigma), wanted, gradient, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:2]), None
        if not ctx.needs_input_grad[1]:
            return units.gaussian_units(gradient, sigma, key.address), None, None
        return *units.gaussian_units_backward(gradient, x, sigma, key.address), None


def variational_dropout(
    x: Tensor, p: float | Tensor = 0.2, *, training: bool, generator: torch.Generator | None = None
) -> Tensor:
    """Functional form of `VariationalDropout`. The rate is given, not learned inside.

    Args:
        x: any shape, batch first; floating point or complex.
        p: the rate, in [0, 1), not rounded; a tensor broadcasts, and gets a gradient if it requires one.
        training: whether to apply noise; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> p = torch.full((4,), 0.2, requires_grad=True)
    >>> variational_dropout(torch.ones(100, 4), p, training=True).var().backward()
    >>> bool((p.grad > 0).all())
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(variational_dropout, locals())
    drawn = rate.draw_key("variational_dropout", x, p, 1, training, generator)
    if drawn is None:
        return x
    key, number = drawn
    return _drop(key, x, (number / (1 - number)).sqrt())


class VariationalDropout(Penalised):
    """Multiplies each element by Gaussian noise with a learned variance. Needs `thinnet.penalty` in the loss.

        y = x (1 + sqrt(alpha) z),  z ~ N(0, 1),  alpha = p / (1 - p) <= 1
        penalty = sum over units of KL(N(1, alpha) || log-uniform) / N, by a cubic in alpha that holds up to 1

    Language models also call one mask for all time steps (Gal and Ghahramani 2016, arXiv:1512.05287) variational dropout: that
    is `VariationalLSTM`.

    Noise shape: one number per element; one rate per unit, or for the layer.
    Use when: in place of Gaussian dropout, to find its rates in one run.
    Avoid when: weights must be pruned: rates end at 0.5, so use SparseVariationalDropout; or thinnet.penalty is not in the
        loss: then the noise vanishes.
    Start with: p = 0.2, one rate per unit.
    Cost: three to four times the cost of dropout. Compiled code stores two numbers per element for backward.
    Other implementations: no maintained library. Others clamp log alpha, which then never decreases again; here it can.

    Args:
        features: D, the size of the last axis of the input.
        p: initial rate, in (0, 0.5]; `learned_p` is the current one.
        per: whether each "unit" has its own rate, or the "layer" has one.

    Shapes: `(..., D)`; the output has the shape of the input. Floating point or complex.

    Raises: ValueError if `p` is not in (0, 0.5], `features` is not positive, `per` is unknown, or the input has another last
        axis.

    Source: Kingma, Salimans, Welling 2015, arXiv:1506.02557, section 3.

    >>> layer = VariationalDropout(16, p=0.2)
    >>> layer(torch.randn(8, 16)).shape, layer.learned_p.shape
    (torch.Size([8, 16]), torch.Size([16]))
    """

    def __init__(self, features: int, p: float = 0.2, per: Literal["unit", "layer"] = "unit") -> None:
        if isinstance(features, bool) or not isinstance(features, int) or features < 1:
            hint = "It is the last axis of the input."
            raise ValueError(f"VariationalDropout: features must be an integer of at least 1; got {features!r}. {hint}")
        if per not in ("unit", "layer"):
            raise ValueError(f"VariationalDropout: per must be 'unit' or 'layer'; got {per!r}.")
        start = log_alpha_of("VariationalDropout", p)
        super().__init__(None)
        self.features = features
        self.log_alpha = nn.Parameter(torch.full((features,) if per == "unit" else (), start))

    @property
    def learned_p(self) -> Tensor:
        """The current rates, alpha / (1 + alpha): `(D,)` or a scalar, with gradient."""
        return at_most_zero(self.log_alpha).sigmoid()

    def drop(self, x: Tensor) -> Tensor:
        if x.ndim == 0 or x.shape[-1] != self.features:
            shape = tuple(x.shape)
            raise ValueError(f"VariationalDropout: the last axis of x must have {self.features} units; got shape {shape}.")
        key = self.key(x)
        return x if key is None else _drop(key, x, (at_most_zero(self.log_alpha).to(wide(x)) / 2).exp())

    def penalty(self, samples: int) -> Tensor:
        """Returns the divergence of the noise of all units from the log-uniform prior, over N."""
        return divergence(at_most_zero(self.log_alpha)).expand(self.features).sum() / samples

    def extra_repr(self) -> str:
        return f"{self.features}, p={self.learned_p.mean().item():.3g}"


METHODS = (Method(FACTS, VariationalDropout, variational_dropout, lambda x: variational_dropout(x, 0.3, training=True)),)
