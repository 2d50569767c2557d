"""Gaussian dropout: every unit is multiplied by noise with the mean and variance of dropout's, and none is lost.

    y = x (1 + sqrt(p / (1 - p)) z),  z ~ N(0, 1)

Srivastava et al. 2014, JMLR 15:1929, section 10; Wang and Manning 2013, ICML.
"""

import torch
from torch import Tensor

from thinnet.methods.call import call
from thinnet.methods.facts import Facts
from thinnet.ops import NoiseKind
from thinnet.rng import Site


def definition(x: Tensor, z: Tensor, p: float) -> Tensor:
    """Returns x (1 + sigma z) with sigma^2 = p / (1 - p)."""
    return x * (1 + (p / (1 - p)) ** 0.5 * z)


FACTS = Facts(
    name="Gaussian dropout",
    summary="Multiplies each element by 1 + sqrt(p / (1 - p)) z with z standard normal; nothing is set to zero.",
    equation="y = x (1 + sqrt(p / (1 - p)) z),  z ~ N(0, 1)",
    paper="Srivastava et al. 2014, JMLR 15:1929, section 10",
    grain="element",
    place="where dropout goes, at the same rate",
    avoid="where signs matter: at p = 0.5 one factor in six is negative",
    default="as dropout: 0.5 on hidden layers",
    cost="one normal number an element: five to six times dropout, as it takes two words of noise and a polynomial",
    elsewhere="Keras GaussianDropout; not in PyTorch",
    domain="[0, 1)",
    expected_drop=lambda p: 0.0,
    mean=lambda x, p: x,
    variance=lambda x, p: x * x * p / (1 - p),
    definition=definition,
    noise="normal",
)


def gaussian_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Multiplies each element of `x` by Gaussian noise with the mean and variance of dropout at rate `p`.

    y = x (1 + sqrt(p / (1 - p)) z), with z ~ N(0, 1) for each element.

    Args:
        x: any shape; floating point or complex (one z a number).
        p: the rate of the dropout whose variance p / (1 - p) the noise has; honoured to 1/65536.
        training: whether noise is drawn. There is no default to forget.
        inplace: writes the result into `x`.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`.

    Raises: ValueError where `p` is not in [0, 1).

    Source: Srivastava et al. 2014, JMLR 15:1929, section 10.

    >>> y = gaussian_dropout(torch.ones(100_000), 0.5, training=True)
    >>> bool((y.mean() - 1).abs() < 0.03), bool((y.var() - 1).abs() < 0.03)
    (True, True)
    """
    return call("gaussian_dropout", x, p, training, inplace, generator, kind=NoiseKind.GAUSSIAN, below_one=True)


class GaussianDropout(Site):
    """Multiplies elements by Gaussian noise in training; does nothing in eval.

    y = x (1 + sqrt(p / (1 - p)) z), with z ~ N(0, 1) for each element.

    Args:
        p: the rate of the dropout whose variance p / (1 - p) the noise has; honoured to 1/65536.
        inplace: writes the result into the input.

    Shapes: any, the same out as in; floating point or complex.

    Raises: ValueError where `p` is not in [0, 1).

    Source: Srivastava et al. 2014, JMLR 15:1929, section 10.

    >>> GaussianDropout(0.2)(torch.randn(8, 16)).shape
    torch.Size([8, 16])
    """

    below_one = True

    def drop(self, x: Tensor) -> Tensor:
        """Tosses one normal number for each element."""
        return self.apply_noise(x, kind=NoiseKind.GAUSSIAN)
