"""Uniform dropout: every unit is multiplied by uniform noise with the mean and variance of dropout's, and none is lost.

    y = x (1 + beta r),  r ~ Uniform(-1, 1),  beta = sqrt(3 p / (1 - p))

The "Uout" of its paper, which gives beta itself: the rate of a beta is p = beta^2 / (3 + beta^2). The noise is bounded: up
to p = 1/4, where beta = 1, no factor is negative. A batch normalisation behind it sees a second moment that is larger by the
factor 1 + beta^2 / 3 = 1 / (1 - p), as behind any noise with dropout's variance: a small beta keeps that shift small.
Li, Chen, Hu, Yang 2019, CVPR, arXiv:1801.05134.
"""

import torch
from torch import Tensor

from thinnet.methods.call import call
from thinnet.methods.facts import Facts
from thinnet.ops import NoiseKind
from thinnet.rng import Site


def definition(x: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns x (1 + beta r) with r = 2 u - 1 and beta^2 = 3 p / (1 - p)."""
    return x * (1 + (3 * p / (1 - p)) ** 0.5 * (2 * u - 1))


FACTS = Facts(
    name="Uniform dropout",
    summary="Multiplies each element by 1 + sqrt(3 p / (1 - p)) r with r uniform in (-1, 1); nothing is set to zero.",
    equation="y = x (1 + sqrt(3 p / (1 - p)) r),  r ~ Uniform(-1, 1)",
    paper="Li et al. 2019, arXiv:1801.05134",
    grain="element",
    place="where dropout goes and nothing may be lost or turn far out: its noise is bounded; before batch normalisation, small",
    avoid="where signs matter, above p = 1/4: from there on some factors are negative",
    default="as dropout; before batch normalisation p = 0.0033, a beta of 0.1 (the rate of a beta is beta^2 / (3 + beta^2))",
    cost="one word of noise an element, twice the words of dropout; no mask is kept",
    elsewhere="no library; the paper's beta is sqrt(3 p / (1 - p)) here, so that a rate means the same as in dropout",
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
    """Multiplies each element of `x` by uniform noise with the mean and variance of dropout at rate `p`.

    y = x (1 + sqrt(3 p / (1 - p)) r), with r ~ Uniform(-1, 1) for each element.

    Args:
        x: any shape; floating point or complex (one r a number).
        p: the rate of the dropout whose variance p / (1 - p) the noise has; honoured to 1/65536. For noise of half-width
            beta it is beta^2 / (3 + beta^2).
        training: whether noise is drawn. There is no default to forget.
        inplace: writes the result into `x`.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`.

    Raises: ValueError where `p` is not in [0, 1).

    Source: Li et al. 2019, arXiv:1801.05134.

    >>> y = uniform_dropout(torch.ones(100_000), 0.25, training=True)  # beta = 1
    >>> bool((y.mean() - 1).abs() < 0.02), bool((y - 1).abs().max() < 1)
    (True, True)
    """
    return call("uniform_dropout", x, p, training, inplace, generator, kind=NoiseKind.UNIFORM, below_one=True)


class UniformDropout(Site):
    """Multiplies elements by uniform noise in training; does nothing in eval.

    y = x (1 + sqrt(3 p / (1 - p)) r), with r ~ Uniform(-1, 1) for each element.

    Args:
        p: the rate of the dropout whose variance p / (1 - p) the noise has; honoured to 1/65536. For noise of half-width
            beta it is beta^2 / (3 + beta^2).
        inplace: writes the result into the input.

    Shapes: any, the same out as in; floating point or complex.

    Raises: ValueError where `p` is not in [0, 1).

    Source: Li et al. 2019, arXiv:1801.05134.

    >>> UniformDropout(0.2)(torch.randn(8, 16)).shape
    torch.Size([8, 16])
    """

    below_one = True

    def drop(self, x: Tensor) -> Tensor:
        """Tosses one uniform number for each element."""
        return self.apply_noise(x, kind=NoiseKind.UNIFORM)
