"""Alpha dropout: dropped units take SELU's saturation value, and an affine map restores mean and variance."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.methods.call import call, no_tensor
from thinnet.methods.facts import Facts, Method, Use
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
    """Returns a x + b for the kept elements (u >= p) and a s + b for the others."""
    a, b = constants(p)
    return a * torch.where(u >= p, x, SATURATION) + b


def mean(x: Tensor, p: float) -> Tensor:
    """Returns a (q x + p s) + b, the expectation for a given input; it is x only on average over N(0, 1)."""
    a, b = constants(p)
    return a * ((1 - p) * x + p * SATURATION) + b


def variance(x: Tensor, p: float) -> Tensor:
    """Returns a^2 p q (x - s)^2."""
    a, _ = constants(p)
    return a * a * p * (1 - p) * (x - SATURATION) ** 2


FACTS = Facts(
    expected_drop=lambda p: p,
    mean=mean,
    variance=variance,
    definition=definition,
    used_by=(
        Use("PyTorch", "torch.nn.AlphaDropout(p)"),
        Use("Keras", "keras.layers.AlphaDropout(rate)"),
    ),
)

FEATURE_FACTS = replace(
    FACTS, noise_shape=noise_shape_of(channels), used_by=(Use("PyTorch", "torch.nn.FeatureAlphaDropout(p)"),)
)


def alpha_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `AlphaDropout`.

    Args:
        x: any shape, floating point; mean 0 and variance 1 over its elements.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> y = alpha_dropout(torch.randn(100_000), 0.3, training=True)
    >>> bool(y.mean().abs() < 0.03), bool((y.var() - 1).abs() < 0.03)
    (True, True)
    """
    if not isinstance(x, Tensor):
        return no_tensor(alpha_dropout, locals())
    return call("alpha_dropout", real(x, "alpha_dropout", training), p, training, inplace, generator, kind=NoiseKind.ALPHA)


def feature_alpha_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `FeatureAlphaDropout`.

    Args:
        x: `(N, C, ...)`, floating point; mean 0 and variance 1 over its elements.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> feature_alpha_dropout(torch.randn(2, 3, 4), 0.5, training=True).shape
    torch.Size([2, 3, 4])
    """
    if not isinstance(x, Tensor):
        return no_tensor(feature_alpha_dropout, locals())
    shared = _shared(real(x, "feature_alpha_dropout", training), training)
    return call("feature_alpha_dropout", x, p, training, inplace, generator, shared_axes=shared, kind=NoiseKind.ALPHA)


def real(x: Tensor, function: str, training: bool) -> Tensor:
    """Returns `x`, or refuses complex numbers in training: they have no saturation value."""
    if training and x.is_complex():
        raise TypeError(f"{function}: x must be real; got {x.dtype}. Use dropout, or pass torch.view_as_real(x).")
    return x


def _shared(x: Tensor, training: bool) -> tuple[int, ...]:
    if training and x.ndim < 2:
        raise RuntimeError(f"feature_alpha_dropout: x must have channels, (N, C, ...); got shape {tuple(x.shape)}.")
    return channels(x.ndim)


class AlphaDropout(Site, nn.AlphaDropout):  # type: ignore[misc]
    """Sets dropped elements to SELU's saturation value and restores mean 0 and variance 1. Replaces `torch.nn.AlphaDropout`.

        y = a (x m + s (1 - m)) + b,  m ~ Bernoulli(1 - p),  s = -1.7580993408473766
        a = (q (1 + p s^2))^(-1/2),  b = -a p s,  q = 1 - p

    m is 1 for kept elements and 0 for dropped ones. At p = 1 the output is zero.

    Noise shape: one decision per element.
    Use when: after SELU in a network with LeCun-normal weights.
    Avoid when: after any other activation: there it shifts mean and variance.
    Start with: 0.05 to 0.1.
    Cost: the cost of Dropout.
    Other implementations: torch.nn.AlphaDropout, which ignores inplace=True; Keras AlphaDropout.

    Args:
        p: fraction of elements dropped, on average; rounded to 1/65536.
        inplace: write the result into the input.

    Shapes: any; the output has the shape of the input.

    Raises:
        ValueError: `p` is not in [0, 1].
        TypeError: the input is complex, or no floating point tensor.

    Source: Klambauer et al. 2017, arXiv:1706.02515.

    >>> AlphaDropout(0.1)(torch.randn(8, 16)).shape
    torch.Size([8, 16])
    """

    def drop(self, x: Tensor) -> Tensor:
        return self.apply_noise(real(x, "AlphaDropout", self.training), kind=NoiseKind.ALPHA)

    def scripted(self, x: Tensor) -> Tensor:
        return F.alpha_dropout(x, self.p, self.training)  # type: ignore[arg-type]


class FeatureAlphaDropout(Site, nn.FeatureAlphaDropout):  # type: ignore[misc]
    """Alpha dropout of whole channels. Replaces `torch.nn.FeatureAlphaDropout`.

        y = a (x m + s (1 - m)) + b, as in `AlphaDropout`

    Noise shape: one decision per channel of a sample.
    Use when: after SELU in convolutional layers.
    Avoid when: after any other activation: there it shifts mean and variance.
    Start with: 0.05 to 0.1.
    Cost: a copy of the input.
    Other implementations: torch.nn.FeatureAlphaDropout, which ignores inplace=True.

    Args:
        p: fraction of channels dropped, on average; rounded to 1/65536.
        inplace: write the result into the input.

    Shapes: `(N, C, ...)`; the output has the shape of the input.

    Raises:
        ValueError: `p` is not in [0, 1].
        RuntimeError: the input has fewer than 2 axes.
        TypeError: the input is complex, or no floating point tensor.

    Source: Klambauer et al. 2017, arXiv:1706.02515.

    >>> FeatureAlphaDropout(0.1)(torch.randn(8, 16, 3, 3)).shape
    torch.Size([8, 16, 3, 3])
    """

    def drop(self, x: Tensor) -> Tensor:
        shared = _shared(real(x, "FeatureAlphaDropout", self.training), self.training)
        return self.apply_noise(x, shared_axes=shared, kind=NoiseKind.ALPHA)

    def scripted(self, x: Tensor) -> Tensor:
        return F.feature_alpha_dropout(x, self.p, self.training)  # type: ignore[arg-type]


METHODS = (
    Method(FACTS, AlphaDropout, alpha_dropout, lambda x: alpha_dropout(x, 0.3, training=True)),
    Method(FEATURE_FACTS, FeatureAlphaDropout, feature_alpha_dropout),
)
