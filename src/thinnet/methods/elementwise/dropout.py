"""Dropout: drops each element by its own random decision."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.methods.call import call
from thinnet.methods.facts import Facts, Method
from thinnet.rng import Site


def definition(x: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns the kept elements (u >= p) scaled by 1 / (1 - p), the others as zeros."""
    return torch.where(u >= p, x / (1 - p) if p < 1 else x, 0)


FACTS = Facts(
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
    """Functional form of `Dropout`.

    Args:
        x: any shape; floating point or complex.
        p: as in the class; a 0-d tensor is read at run time.
        training: whether to drop; if False, `x` itself is returned. It has no default, so that it cannot be forgotten.
        generator: source of the seed; by default torch's generator of the device.

    >>> _ = torch.manual_seed(0)
    >>> dropout(torch.ones(6), 0.5, training=True)
    tensor([2., 0., 0., 0., 2., 2.])
    """
    return call("dropout", x, p, training, inplace, generator)


class Dropout(Site, nn.Dropout):
    """Drops each element with probability p and scales the kept ones by 1 / (1 - p). Replaces `torch.nn.Dropout`.

        y = x m / (1 - p),  m ~ Bernoulli(1 - p)

    Noise shape: one decision per element.
    Use when: after the activation of fully connected layers, and on inputs.
    Avoid when: on the output layer; between a layer and its batch normalisation; inside the time steps of a recurrent network.
    Start with: 0.5 on hidden layers, 0.2 on real-valued inputs.
    Cost: little more than a copy of the input.
    Other implementations: torch.nn.Dropout, which stores the mask and turns dropped infinite values into NaN; Keras Dropout.

    Args:
        p: fraction of elements set to zero, on average; rounded to 1/65536.
        inplace: write the result into the input.

    Shapes: any; the output has the shape of the input. Floating point or complex.

    Raises:
        ValueError: `p` is not in [0, 1].
        TypeError: the input is an integer, bool, quantised or sparse tensor.

    Source: Srivastava et al. 2014, JMLR 15:1929; Hinton et al. 2012, arXiv:1207.0580.

    >>> layer = Dropout(0.5)
    >>> layer.eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def scripted(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training, self.inplace)


METHODS = (Method(FACTS, Dropout, dropout, lambda x: dropout(x, 0.3, training=True)),)
