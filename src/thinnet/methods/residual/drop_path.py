"""DropPath: drops the output of a residual branch for whole samples."""

from dataclasses import replace

import torch
from torch import Tensor

from thinnet.methods.call import call, no_tensor
from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Method, Use
from thinnet.methods.noise_shapes import noise_shape_of, samples
from thinnet.rng import Site

FACTS = replace(
    dropout.FACTS,
    noise_shape=noise_shape_of(samples),
    used_by=(
        Use("transformers, Swin and BEiT", "drop_path_rate=0.1"),
        Use("timm", "timm.layers.DropPath(drop_prob)"),
    ),
)


def drop_path(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `DropPath`.

    Args:
        x: `(N, ...)`, the output of the branch.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> kept = drop_path(torch.ones(64, 5, 3), 0.5, training=True).count_nonzero(dim=(1, 2))
    >>> bool(((kept == 0) | (kept == 15)).all())
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(drop_path, locals())
    return call("drop_path", x, p, training, inplace, generator, shared_axes=samples(x.ndim))


class DropPath(Site):
    """Drops a residual branch's output for whole samples and scales the kept ones by 1 / (1 - p): `x + drop(f(x))`.

        y[n, ...] = x[n, ...] m[n] / (1 - p),  m ~ Bernoulli(1 - p)

    A dropped sample passes through the shortcut alone. At rate 0 it is a site like any other, which a schedule can raise.

    Noise shape: one decision per sample.
    Use when: last on a residual branch in vision transformers and residual networks; the rate grows with depth.
    Avoid when: the path has no shortcut, so nothing of the sample would be left.
    Start with: 0 at the first block, rising to 0.1 (small models) .. 0.4 (large models) at the last.
    Cost: a copy of the branch's output. The branch is always computed.
    Other implementations: timm DropPath and torchvision StochasticDepth(mode='row') multiply by the mask, so infinite values
        become NaN. Some use an Identity at rate 0, which a schedule cannot raise.

    Args:
        p: probability that a sample is dropped, at every batch size; rounded to 1/65536.
        inplace: write the result into the input.

    Shapes: `(N, ...)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1].

    Source: Huang et al. 2016, arXiv:1603.09382, with one decision per sample instead of per batch; the name is from Larsson,
        Maire, Shakhnarovich 2017, arXiv:1605.07648.

    >>> x, branch, drop = torch.ones(4, 6), torch.nn.Linear(6, 6), DropPath(0.1)
    >>> (x + drop(branch(x))).shape
    torch.Size([4, 6])
    """

    shared_axes = staticmethod(samples)

    def __init__(self, p: float | None = 0.1, inplace: bool = False) -> None:
        super().__init__(p, inplace)


METHODS = (Method(FACTS, DropPath, drop_path),)
