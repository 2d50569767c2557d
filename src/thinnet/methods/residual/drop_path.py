"""DropPath: one coin drops what a residual branch gives for a whole sample, so that the sample passes by the shortcut alone.

    y[n, ...] = x[n, ...] m[n] / (1 - p),  m ~ Bernoulli(1 - p)

The toss of `Dropout` with the grain of a sample. Huang, Sun, Liu, Sedra, Weinberger 2016, arXiv:1603.09382, with a coin for
each sample in the place of one for the batch; "drop-path" is the word of Larsson, Maire, Shakhnarovich 2017, arXiv:1605.07648.
"""

import torch
from torch import Tensor

from thinnet.methods.call import call
from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Facts, Method
from thinnet.methods.noise_shapes import noise_shape_of, samples
from thinnet.rng import Site

FACTS = Facts(
    name="DropPath",
    summary="Drops a branch's output for a whole sample by one coin and scales the kept ones by 1 / (1 - p).",
    equation="y[n, ...] = x[n, ...] m[n] / (1 - p),  m ~ Bernoulli(1 - p)",
    paper="Huang et al. 2016, arXiv:1603.09382; per sample",
    grain="sample",
    place="last on a residual branch, x + drop(f(x)), in vision transformers and residual networks; the rate grows with depth",
    avoid="on a path without a shortcut, where nothing of the sample is left",
    default="from 0 at the first block to 0.1 (small models) .. 0.4 (large ones) at the last",
    cost="one coin a sample: a copy of the branch's output; the branch is computed all the same",
    elsewhere="timm DropPath and torchvision StochasticDepth(mode='row'), which multiply by the mask, so that infinite"
    " values leak as NaN; an Identity in the place of a site of rate 0 leaves a schedule no layer to drive: here it is a site",
    expected_drop=dropout.FACTS.expected_drop,
    mean=dropout.FACTS.mean,
    variance=dropout.FACTS.variance,
    definition=dropout.definition,
    noise_shape=noise_shape_of(samples),
)


def drop_path(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Drops whole samples of a branch's output `x` and scales the kept ones by 1 / (1 - p).

    y[n, ...] = x[n, ...] m[n] / (1 - p), with m ~ Bernoulli(1 - p).

    Args:
        x: `(N, ...)`, what the branch gave.
        p: fraction of samples that pass by the shortcut alone, on average; honoured to 1/65536, at every batch size.
        training: whether coins are tossed. There is no default to forget.
        inplace: writes the result into `x`.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Huang et al. 2016, arXiv:1603.09382.

    >>> kept = drop_path(torch.ones(64, 5, 3), 0.5, training=True).count_nonzero(dim=(1, 2))
    >>> bool(((kept == 0) | (kept == 15)).all())
    True
    """
    return call("drop_path", x, p, training, inplace, generator, shared_axes=samples(x.ndim))


class DropPath(Site):
    """Drops a branch's output for whole samples in training: `x + drop(f(x))`. Does nothing in eval.

    y[n, ...] = x[n, ...] m[n] / (1 - p), with m ~ Bernoulli(1 - p).

    At rate 0 it is a site like any other: a schedule that starts there, or a depth-wise one whose first site has it, drives it.

    Args:
        p: fraction of samples that pass by the shortcut alone, on average; honoured to 1/65536, at every batch size.
        inplace: writes the result into the input.

    Shapes: `(N, ...)`, the same out as in.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Huang et al. 2016, arXiv:1603.09382.

    >>> x, branch, drop = torch.ones(4, 6), torch.nn.Linear(6, 6), DropPath(0.1)
    >>> (x + drop(branch(x))).shape
    torch.Size([4, 6])
    """

    def __init__(self, p: float | None = 0.1, inplace: bool = False) -> None:
        super().__init__(p, inplace)

    def drop(self, x: Tensor) -> Tensor:
        return self.apply_noise(x, shared_axes=samples(x.ndim))


METHODS = (Method(FACTS, DropPath, drop_path),)
