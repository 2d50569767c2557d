"""Token dropout: drops the vectors of whole positions."""

from dataclasses import replace

import torch
from torch import Tensor

from thinnet.methods.call import call, no_tensor
from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Method
from thinnet.methods.noise_shapes import channels as positions
from thinnet.methods.noise_shapes import noise_shape_of
from thinnet.rng import Site

FACTS = replace(dropout.FACTS, noise_shape=noise_shape_of(positions), used_by=())


def token_dropout(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `TokenDropout`.

    Args:
        x: `(B, T, D)`, or any shape with the positions in axis 1. `word_dropout` takes ids.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> kept = token_dropout(torch.ones(4, 8, 5), 0.5, training=True).count_nonzero(dim=2)
    >>> bool(((kept == 0) | (kept == 5)).all())
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(token_dropout, locals())
    return call("token_dropout", x, p, training, False, generator, shared_axes=positions(x.ndim))


class TokenDropout(Site):
    """Drops the whole vector of each position and scales the kept ones by 1 / (1 - p).

        y[b, t, ...] = x[b, t, ...] m[b, t] / (1 - p),  m ~ Bernoulli(1 - p)

    Noise shape: one decision per position of a sample: spatial dropout, with positions in axis 1 in place of channels.
    Use when: after the embedding of a text classifier or encoder, before positions are added.
    Avoid when: each position is predicted from itself, as in tagging.
    Start with: p from 0.1 to 0.3.
    Cost: one random decision per position, and a copy of the input.
    Other implementations: torch.nn.Dropout1d does the same to (B, T, D).

    Args:
        p: probability that a position is dropped, rounded to 1/65536.
        inplace: write the result into the input.

    Shapes: `(B, T, D)`, or any with the positions in axis 1; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1]; TypeError if the input is an integer, bool, quantised or sparse tensor.

    Source: Iyyer, Manjunatha, Boyd-Graber, Daume III 2015, ACL, P15-1162 ("word dropout" before an average of word vectors).

    >>> TokenDropout(0.2)(torch.randn(2, 7, 16)).shape
    torch.Size([2, 7, 16])
    """

    shared_axes = staticmethod(positions)

    def __init__(self, p: float = 0.1, inplace: bool = False) -> None:
        super().__init__(p, inplace)


METHODS = (Method(FACTS, TokenDropout, token_dropout, lambda x: token_dropout(x.T[None], 0.3, training=True)[0].T),)
