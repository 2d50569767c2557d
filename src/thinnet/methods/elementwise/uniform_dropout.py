"""Uniform dropout: multiplies each unit by uniform noise with the mean and variance of dropout's."""

import torch
from torch import Tensor

from thinnet.methods.call import call, no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.ops import NoiseKind
from thinnet.rng import Site


def definition(x: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns x (1 + beta r) with r = 2 u - 1 and beta^2 = 3 p / (1 - p)."""
    return x * (1 + (3 * p / (1 - p)) ** 0.5 * (2 * u - 1))


FACTS = Facts(
    domain="[0, 1)",
    expected_drop=lambda p: 0.0,
    mean=lambda x, p: x,
    variance=lambda x, p: x * x * p / (1 - p),
    definition=definition,
    noise="uniform",
)


def uniform_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `UniformDropout`.

    Args:
        x: any shape; floating point or complex.
        training: whether to apply noise; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> y = uniform_dropout(torch.ones(100_000), 0.25, training=True)  # beta = 1
    >>> bool((y.mean() - 1).abs() < 0.02), bool((y - 1).abs().max() < 1)
    (True, True)
    """
    if not isinstance(x, Tensor):
        return no_tensor(uniform_dropout, locals())
    return call("uniform_dropout", x, p, training, inplace, generator, kind=NoiseKind.UNIFORM, below_one=True)


class UniformDropout(Site):
    """Multiplies each element by uniform noise with the same mean and variance as dropout; nothing is set to zero.

        y = x (1 + beta r),  r ~ Uniform(-1, 1),  beta = sqrt(3 p / (1 - p))

    The paper ("Uout") uses beta as the parameter; p = beta^2 / (3 + beta^2). Up to p = 1/4, where beta = 1, no factor is
    negative. The noise multiplies the second moment by 1 / (1 - p). So a batch normalisation after it sees another variance in
    eval mode; with a small beta the difference is small.

    Noise shape: one number per element; a complex element has one number too.
    Use when: no unit may be set to zero and noise must be bounded; with a small p before batch normalisation.
    Avoid when: signs matter and p is above 1/4: there some factors are negative.
    Start with: the rate of dropout; before batch normalisation p = 0.0033, which is beta = 0.1.
    Cost: twice the random bits of dropout; no mask is kept.
    Other implementations: none known; the paper's parameter is beta.

    Args:
        p: rate of the dropout that has the same variance, p / (1 - p); rounded to 1/65536.
        inplace: write the result into the input.

    Shapes: any; the output has the shape of the input. Floating point or complex.

    Raises:
        ValueError: `p` is not in [0, 1).
        TypeError: the input is an integer, bool, quantised or sparse tensor.

    Source: Li et al. 2019, CVPR, arXiv:1801.05134.

    >>> UniformDropout(0.2)(torch.randn(8, 16)).shape
    torch.Size([8, 16])
    """

    below_one = True
    kind = NoiseKind.UNIFORM


METHODS = (Method(FACTS, UniformDropout, uniform_dropout, lambda x: uniform_dropout(x, 0.3, training=True)),)
