"""Dropout: each unit of each training case is dropped by a coin of its own, the kept ones are scaled up.

    y = x m / (1 - p),  m ~ Bernoulli(1 - p)

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, JMLR 15:1929; Hinton et al. 2012, arXiv:1207.0580.
"""

import torch
from torch import Tensor

from thinnet.methods.call import call
from thinnet.methods.facts import Facts
from thinnet.rng import Site


def definition(x: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns the kept elements (u >= p) scaled by 1 / (1 - p), the others as zeros."""
    return torch.where(u >= p, x / (1 - p) if p < 1 else x, 0)


FACTS = Facts(
    name="Dropout",
    summary="Drops each element by its own coin and scales the kept ones by 1 / (1 - p).",
    equation="y = x m / (1 - p),  m ~ Bernoulli(1 - p)",
    paper="Srivastava et al. 2014, JMLR 15:1929",
    grain="element",
    place="after the activation of fully connected layers, and on inputs",
    avoid="on the output layer; between a layer and its batch normalisation; inside the time steps of a recurrent network",
    default="0.5 on hidden layers, 0.2 on real-valued inputs",
    cost="one coin an element: little more than a copy of the input",
    elsewhere="torch.nn.Dropout, which keeps the mask and multiplies by it, so that infinite values leak as NaN; Keras Dropout",
    expected_drop=lambda p: p,
    mean=lambda x, p: x * (p < 1),
    variance=lambda x, p: x * x * (p / (1 - p) if p < 1 else 0),
    definition=definition,
)


def dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Drops elements of `x` at random and scales the kept ones by 1 / (1 - p).

    y = x m / (1 - p), with m ~ Bernoulli(1 - p) for each element.

    Args:
        x: any shape; floating point or complex.
        p: fraction of elements set to zero, on average; honoured to 1/65536. A 0-d tensor is read at run time.
        training: whether coins are tossed; `x` is returned as it is where not. There is no default to forget.
        inplace: writes the result into `x`.
        generator: where the seed of this call is drawn; torch's default generator of the device if left out.

    Returns: a tensor like `x`.

    Raises:
        ValueError: `p` is not in [0, 1].
        TypeError: `x` is an integer, bool, quantised or sparse tensor.

    Source: Srivastava et al. 2014, JMLR 15:1929.

    >>> _ = torch.manual_seed(0)
    >>> dropout(torch.ones(6), 0.5, training=True)
    tensor([2., 0., 0., 0., 2., 2.])
    """
    return call("dropout", x, p, training, inplace, generator)


class Dropout(Site):
    """Drops elements at random in training; does nothing in eval. Takes the place of `torch.nn.Dropout`.

    y = x m / (1 - p), with m ~ Bernoulli(1 - p) for each element.

    Args:
        p: fraction of elements set to zero, on average; honoured to 1/65536.
        inplace: writes the result into the input.

    Shapes: any, the same out as in; floating point or complex.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Srivastava et al. 2014, JMLR 15:1929.

    >>> layer = Dropout(0.5)
    >>> layer.eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def drop(self, x: Tensor) -> Tensor:
        """Tosses one coin for each element."""
        return self.apply_noise(x)
