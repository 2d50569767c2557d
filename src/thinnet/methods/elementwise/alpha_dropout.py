"""Alpha dropout: dropped units take SELU's saturation value, and an affine map gives mean and variance back.

    y = a (x m + alpha' (1 - m)) + b,  m ~ Bernoulli(1 - p),  alpha' = -1.7580993408473766
    a = (q (1 + p alpha'^2))^(-1/2),   b = -a p alpha',        q = 1 - p

Feature alpha dropout is the same toss with the grain of spatial dropout.
Klambauer, Unterthiner, Mayr, Hochreiter 2017, NeurIPS, arXiv:1706.02515.
"""

from dataclasses import replace

import torch
from torch import Tensor

from thinnet.methods.call import call
from thinnet.methods.facts import Facts
from thinnet.methods.noise_shapes import channels, noise_shape_of
from thinnet.ops import NoiseKind
from thinnet.rng import Site

SATURATION = -1.7580993408473766


def constants(p: float) -> tuple[float, float]:
    """Returns a and b; both are zero at p = 1, where nothing is kept.

    >>> constants(0.0)
    (1.0, 0.0)
    """
    if p == 1:
        return 0.0, 0.0
    a = ((1 - p) * (1 + p * SATURATION**2)) ** -0.5
    return a, 0.0 - a * p * SATURATION


def definition(x: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns a x + b for the kept elements (u >= p) and a alpha' + b for the others."""
    a, b = constants(p)
    return a * torch.where(u >= p, x, SATURATION) + b


def mean(x: Tensor, p: float) -> Tensor:
    """Returns a (q x + p alpha') + b, the expectation for a given input; it is x only on average over N(0, 1)."""
    a, b = constants(p)
    return a * ((1 - p) * x + p * SATURATION) + b


def variance(x: Tensor, p: float) -> Tensor:
    """Returns a^2 p q (x - alpha')^2."""
    a, _ = constants(p)
    return a * a * p * (1 - p) * (x - SATURATION) ** 2


FACTS = Facts(
    name="Alpha dropout",
    summary="Sets dropped elements to SELU's saturation value and restores zero mean and unit variance.",
    equation="y = a (x m + alpha' (1 - m)) + b,  m ~ Bernoulli(1 - p),  alpha' = -1.7581",
    paper="Klambauer et al. 2017, arXiv:1706.02515",
    grain="element",
    place="after SELU in a network with LeCun-normal weights",
    avoid="after any other activation: there it shifts mean and variance",
    default="0.05 to 0.1",
    cost="one coin an element, as dropout",
    elsewhere="torch.nn.AlphaDropout, which ignores inplace=True; Keras AlphaDropout",
    expected_drop=lambda p: p,
    mean=mean,
    variance=variance,
    definition=definition,
)

FEATURE_FACTS = replace(
    FACTS,
    name="Feature alpha dropout",
    summary="Alpha dropout with one coin for each channel of each sample.",
    grain="channel of a sample",
    place="after SELU in convolutional layers",
    cost="one coin a channel: a copy of the input",
    elsewhere="torch.nn.FeatureAlphaDropout, which ignores inplace=True",
    noise_shape=noise_shape_of(channels),
)


def alpha_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sets elements to SELU's saturation value at random and keeps mean 0 and variance 1.

    y = a (x m + alpha' (1 - m)) + b, with m ~ Bernoulli(1 - p) for each element.

    Args:
        x: any shape, floating point; mean 0 and variance 1 over its elements.
        p: fraction of elements dropped, on average; honoured to 1/65536.
        training: whether coins are tossed. There is no default to forget.
        inplace: writes the result into `x`.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`; zeros at p = 1.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Klambauer et al. 2017, arXiv:1706.02515.

    >>> y = alpha_dropout(torch.randn(100_000), 0.3, training=True)
    >>> bool(y.mean().abs() < 0.03), bool((y.var() - 1).abs() < 0.03)
    (True, True)
    """
    return call("alpha_dropout", real(x, "alpha_dropout"), p, training, inplace, generator, kind=NoiseKind.ALPHA)


def feature_alpha_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sets whole channels of `(N, C, ...)` to SELU's saturation value at random and keeps mean 0 and variance 1.

    y = a (x m + alpha' (1 - m)) + b, with m ~ Bernoulli(1 - p) for each channel of each sample.

    Args:
        x: `(N, C, ...)`, floating point; mean 0 and variance 1 over its elements.
        p: fraction of channels dropped, on average; honoured to 1/65536.
        training: whether coins are tossed. There is no default to forget.
        inplace: writes the result into `x`.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`; zeros at p = 1.

    Raises:
        ValueError: `p` is not in [0, 1].
        RuntimeError: `x` has fewer than 2 axes.

    Source: Klambauer et al. 2017, arXiv:1706.02515.

    >>> feature_alpha_dropout(torch.randn(2, 3, 4), 0.5, training=True).shape
    torch.Size([2, 3, 4])
    """
    shared = _shared(real(x, "feature_alpha_dropout"), training)
    return call("feature_alpha_dropout", x, p, training, inplace, generator, shared_axes=shared, kind=NoiseKind.ALPHA)


def real(x: Tensor, function: str) -> Tensor:
    """Returns `x`, or refuses complex numbers: they have no saturation value."""
    if x.is_complex():
        raise TypeError(f"{function}: x must be real; got {x.dtype}. Toss torch.view_as_real(x), or use dropout.")
    return x


def _shared(x: Tensor, training: bool) -> tuple[int, ...]:
    if training and x.ndim < 2:
        raise RuntimeError(f"feature_alpha_dropout: x must have channels, (N, C, ...); got shape {tuple(x.shape)}.")
    return channels(x.ndim)


class AlphaDropout(Site):
    """Sets elements to SELU's saturation value in training. Takes the place of `torch.nn.AlphaDropout`.

    y = a (x m + alpha' (1 - m)) + b, with m ~ Bernoulli(1 - p) for each element.

    Args:
        p: fraction of elements dropped, on average; honoured to 1/65536.
        inplace: writes the result into the input.

    Shapes: any, the same out as in.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Klambauer et al. 2017, arXiv:1706.02515.

    >>> AlphaDropout(0.1)(torch.randn(8, 16)).shape
    torch.Size([8, 16])
    """

    def drop(self, x: Tensor) -> Tensor:
        """Tosses by the affine rule."""
        return self.apply_noise(real(x, "AlphaDropout"), kind=NoiseKind.ALPHA)


class FeatureAlphaDropout(Site):
    """Sets whole channels to SELU's saturation value in training. Takes the place of `torch.nn.FeatureAlphaDropout`.

    y = a (x m + alpha' (1 - m)) + b, with m ~ Bernoulli(1 - p) for each channel of each sample.

    Args:
        p: fraction of channels dropped, on average; honoured to 1/65536.
        inplace: writes the result into the input.

    Shapes: `(N, C, ...)`, the same out as in.

    Raises: ValueError where `p` is not in [0, 1]; RuntimeError at an input with fewer than 2 axes.

    Source: Klambauer et al. 2017, arXiv:1706.02515.

    >>> FeatureAlphaDropout(0.1)(torch.randn(8, 16, 3, 3)).shape
    torch.Size([8, 16, 3, 3])
    """

    def drop(self, x: Tensor) -> Tensor:
        """Tosses by the affine rule."""
        return self.apply_noise(x, shared_axes=_shared(real(x, "FeatureAlphaDropout"), self.training), kind=NoiseKind.ALPHA)
