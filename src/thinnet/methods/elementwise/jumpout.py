"""Jumpout: dropout for ReLU layers at a rate that is drawn for each sample."""

import math

import torch
from torch import Tensor

from thinnet import ops
from thinnet.methods.call import draw_key as key_for
from thinnet.methods.call import no_tensor
from thinnet.methods.elementwise.selection import first_number, noise, select, selected
from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import real
from thinnet.ops import units
from thinnet.rng import NoiseKey, Site

POWER = 0.75
POINTS = 1 << 14  # of the midpoint rule over the drawn rates, for the declared moments


def _rate(deviate: Tensor, x: Tensor, p: float | Tensor, p_min: float, p_max: float) -> Tensor:
    """Returns the rate of each sample, `(N, 1)`, from |z| and the fraction of its units that is active."""
    if units.summed(x):
        active = (units.sum_units(x, (len(x), *[1] * (x.ndim - 1))).flatten(1) / math.prod(x.shape[1:])).to(deviate.dtype)
    else:
        active = (x > 0).to(deviate.dtype).flatten(1).mean(1, keepdim=True)
    rate = ((p * math.sqrt(math.pi / 2) * deviate).clamp(min=p_min) / active).clamp(max=p_max)
    return torch.where(torch.as_tensor(p, device=x.device) > 0, rate, 0)


def _rate_and_scale(u: Tensor, x: Tensor, p: float | Tensor, p_min: float, p_max: float) -> tuple[Tensor, Tensor]:
    """Returns the rate and the scale that the first number of each sample gives, shaped to broadcast over `x`."""
    rate = _rate(math.sqrt(2) * torch.erfinv(u[:, :1]), x.detach(), p, p_min, p_max).reshape(-1, *[1] * (x.ndim - 1))
    return rate, (1 - rate) ** -POWER


def definition(x: Tensor, u: Tensor, p: float, *, p_min: float = 0.0, p_max: float = 0.6) -> Tensor:
    """Returns the output for the noise `(N, 1 + units)`: the first column draws the rates, the others decide on units."""
    return select(x, u, *_rate_and_scale(u, x, p, p_min, p_max), 1)


def _moments(x: Tensor, p: float, p_min: float, p_max: float) -> tuple[Tensor, Tensor]:
    """Returns E[(1 - r)^(1/4)] and E[(1 - r)^(-1/2)] for each sample: the first two moments of the noise."""
    u = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
    rate = _rate(math.sqrt(2) * torch.erfinv(u), x.double(), p, p_min, p_max)
    first, second = (((1 - rate) ** power).mean(1) for power in (1 - POWER, 1 - 2 * POWER))
    shape = (-1, *[1] * (x.ndim - 1))
    return first.reshape(shape), second.reshape(shape)


def mean(x: Tensor, p: float, *, p_min: float = 0.0, p_max: float = 0.6) -> Tensor:
    """Returns x E[(1 - r)^(1/4)] over the drawn rates."""
    return x * _moments(x, p, p_min, p_max)[0]


def variance(x: Tensor, p: float, *, p_min: float = 0.0, p_max: float = 0.6) -> Tensor:
    """Returns x^2 (E[(1 - r)^(-1/2)] - E[(1 - r)^(1/4)]^2)."""
    first, second = _moments(x, p, p_min, p_max)
    return x * x * (second - first**2)


def expected_drop(p: float, *, p_min: float = 0.0, p_max: float = 0.6) -> float:
    """Returns the mean of min(max(sigma |z|, p_min), p_max): the fraction of units dropped where all are active."""
    if p == 0:
        return 0.0
    sigma = p * math.sqrt(math.pi / 2)
    low, high = (bound / sigma / math.sqrt(2) for bound in (p_min, p_max))
    return p_min * math.erf(low) + p * (math.exp(-low * low) - math.exp(-high * high)) + p_max * math.erfc(high)


FACTS = Facts(
    expected_drop=expected_drop,
    mean=mean,
    variance=variance,
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, **_: (shape[0], 1 + math.prod(shape[1:])),
    independent=False,
)


def _check(function: str, p_min: float, p_max: float) -> None:
    if not 0 <= real(p_min) <= real(p_max) < 1:
        step = "At rate 1 nothing is left to scale; try p_min=0.0, p_max=0.6."
        raise ValueError(f"{function}: p_min and p_max must be 0 <= p_min <= p_max < 1; got {p_min!r} and {p_max!r}. {step}")


def _check_input(function: str, x: Tensor) -> None:
    ops.check_input(x, function)
    if x.is_complex():
        raise TypeError(f"{function}: x must be real; got {x.dtype}. No complex number is above zero, as active units are.")
    if x.ndim < 2:
        raise ValueError(f"{function}: x must have samples and units, (N, ...); got shape {tuple(x.shape)}. Use x[None].")


def _drop(key: NoiseKey, x: Tensor, p_min: float, p_max: float) -> Tensor:
    first = first_number(key, x)
    drawn = noise(key, x, 1) if first is None else None
    wide = (drawn if first is None else first).to(torch.promote_types(x.dtype, torch.float32))  # type: ignore[union-attr]
    return selected(key, x, *_rate_and_scale(wide, x, key.p, p_min, p_max), 1, drawn=drawn)


def jumpout(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    p_min: float = 0.0,
    p_max: float = 0.6,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `Jumpout`.

    Args:
        x: `(N, ...)`, real.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> jumpout(torch.randn(4, 8).relu(), 0.1, training=True).shape
    torch.Size([4, 8])
    """
    if not isinstance(x, Tensor):
        return no_tensor(jumpout, locals())
    _check("jumpout", p_min, p_max)
    _check_input("jumpout", x)
    key = key_for("jumpout", x, p, training, generator)
    return x if key is None else _drop(key, x, p_min, p_max)


class Jumpout(Site):
    """Drops each element after a ReLU at a rate that is drawn for its sample, and scales the kept ones by (1 - r)^(-3/4).

        y = x m (1 - r)^(-3/4),  m ~ Bernoulli(1 - r),  r = min(max(sigma |z|, p_min) / a, p_max),  z ~ N(0, 1)

    a is the fraction of units of the sample that are active (x > 0), and sigma = p sqrt(pi / 2), so that sigma |z| has the mean
    p. Small rates are the most likely. r a is the fraction of all units that are active and dropped; dividing by a makes it the
    same in every layer. The power 1 would preserve the mean, and 1/2 the second moment; 3/4 is a compromise for a batch
    normalisation that follows. The mean is x E[(1 - r)^(1/4)], a little less than x.

    The paper does not say whether a rate is drawn for each batch or for each sample. Here it is for each sample, so that an
    output does not depend on the other samples.

    Noise shape: one rate per sample, one decision per element.
    Use when: after ReLU, in a network with batch normalisation, if all layers shall use the same rate.
    Avoid when: activations are seldom exactly zero; or the mean must not change: it is multiplied by E[(1 - r)^(1/4)].
    Start with: p = 0.1, p_max = 0.6.
    Cost: twice the random bits of dropout, and a pass that counts active units; no mask is kept.
    Other implementations: none known. The paper's parameter is sigma.

    Args:
        p: mean of sigma |z|, before the bounds and the division by a; 0 is the identity.
        p_min: lower bound of sigma |z|.
        p_max: upper bound of the rate of a sample; below 1.

    Shapes: `(N, ...)`, real; the output has the shape of the input.

    Raises:
        ValueError: `p` is not in [0, 1], the bounds are not 0 <= p_min <= p_max < 1, or the input has fewer than two axes.
        TypeError: the input is not a real floating point tensor.

    Source: Wang, Zhou, Bilmes 2019, ICML, PMLR 97:6668.

    >>> layer = torch.nn.Sequential(torch.nn.ReLU(), Jumpout(0.1))
    >>> layer(torch.randn(8, 16)).shape
    torch.Size([8, 16])
    """

    def __init__(self, p: float = 0.1, *, p_min: float = 0.0, p_max: float = 0.6) -> None:
        super().__init__(p)
        _check("Jumpout", p_min, p_max)
        self.p_min, self.p_max = p_min, p_max

    def drop(self, x: Tensor) -> Tensor:
        _check_input("Jumpout", x)
        key = self.key(x)
        return x if key is None else _drop(key, x, self.p_min, self.p_max)

    def extra_repr(self) -> str:
        return f"p={self.p}, p_min={self.p_min}, p_max={self.p_max}"


METHODS = (Method(FACTS, Jumpout, jumpout, lambda x: jumpout(x, 0.3, training=True)),)
