"""Gaussian dropout: multiplies each unit by normal noise with the mean and variance of dropout's."""

import torch
from torch import Tensor

from thinnet.methods.call import call, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.ops import NoiseKind
from thinnet.rng import Site


def definition(x: Tensor, z: Tensor, p: float) -> Tensor:
    """Returns x (1 + sigma z) with sigma^2 = p / (1 - p)."""
    return x * (1 + (p / (1 - p)) ** 0.5 * z)


FACTS = Facts(
    domain="[0, 1)",
    expected_drop=lambda p: 0.0,
    mean=lambda x, p: x,
    variance=lambda x, p: x * x * p / (1 - p),
    definition=definition,
    noise="normal",
    used_by=(Use("Keras", "keras.layers.GaussianDropout(rate)"),),
)


def gaussian_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `GaussianDropout`.

    Args:
        x: any shape; floating point or complex.
        training: whether to apply noise; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> y = gaussian_dropout(torch.ones(100_000), 0.5, training=True)
    >>> bool((y.mean() - 1).abs() < 0.03), bool((y.var() - 1).abs() < 0.03)
    (True, True)
    """
    if not isinstance(x, Tensor):
        return no_tensor(gaussian_dropout, locals())
    return call("gaussian_dropout", x, p, training, inplace, generator, kind=NoiseKind.GAUSSIAN, below_one=True)


class GaussianDropout(Site):
    """Multiplies each element by normal noise with the same mean and variance as dropout; nothing is set to zero.

        y = x (1 + sqrt(p / (1 - p)) z),  z ~ N(0, 1)

    Noise shape: one number per element; a complex element has one number too.
    Use when: dropout is used, at the same rate, and no unit should be set to zero.
    Avoid when: signs matter: at p = 0.5 one factor in six is negative.
    Start with: 0.5 on hidden layers, as with dropout.
    Cost: about three times the cost of dropout: each element needs 32 random bits and two polynomials.
    Other implementations: Keras GaussianDropout; not in PyTorch.

    Args:
        p: rate of the dropout that has the same variance, p / (1 - p); rounded to 1/65536.
        inplace: write the result into the input.

    Shapes: any; the output has the shape of the input. Floating point or complex.

    Raises:
        ValueError: `p` is not in [0, 1).
        TypeError: the input is an integer, bool, quantised or sparse tensor.

    Source: Srivastava et al. 2014, JMLR 15:1929, section 10; Wang and Manning 2013, ICML.

    >>> GaussianDropout(0.2)(torch.randn(8, 16)).shape
    torch.Size([8, 16])
    """

    below_one = True
    kind = NoiseKind.GAUSSIAN


METHODS = (Method(FACTS, GaussianDropout, gaussian_dropout, lambda x: gaussian_dropout(x, 0.3, training=True)),)
