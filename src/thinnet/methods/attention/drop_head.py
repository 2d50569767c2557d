"""DropHead: whole attention heads of a sample are dropped, so that the others learn to do without them.

    y[b, h] = x[b, h] m[b, h] H / K[b],  K[b] = sum of m[b, h] over the H heads,  m ~ Bernoulli(1 - p)

A sample that would lose all heads loses none. So the expectation is x exactly: with K > 0, E[m H / K] = E[K / K] by the
symmetry of the heads, and the sample without a head adds p^H x.
Zhou, Ge, Xu, Wei, Zhou 2020, "Scheduled DropHead", arXiv:2004.13342.
"""

from collections.abc import Sequence
from math import comb
from typing import Literal

import torch
from torch import Tensor

from thinnet import ops
from thinnet.methods.call import draw_key
from thinnet.methods.facts import Facts, Method
from thinnet.methods.noise_shapes import channels, noise_shape_of
from thinnet.rng import NoiseKey, Site

Rescale = Literal["count", "rate"]


def definition(x: Tensor, u: Tensor, p: float, rescale: Rescale = "count", shared: bool = False) -> Tensor:
    """Returns the kept heads (u >= p), scaled by what their number, or by what the rate says."""
    return torch.where(u >= p, x / (1 - p), 0) if rescale == "rate" else _by_count(x, u >= p)


def variance(x: Tensor, p: float, rescale: Rescale = "count", shared: bool = False) -> Tensor:
    """Returns x^2 p / (1 - p) for the rate, and for the count x^2 (H E[1 / K; K > 0] + p^H - 1)."""
    if rescale == "rate":
        return x * x * p / (1 - p)
    heads = x.shape[1]
    inverse = sum(comb(heads, kept) * (1 - p) ** kept * p ** (heads - kept) / kept for kept in range(1, heads + 1))
    return x * x * (heads * inverse + p**heads - 1)


def _noise_shape(shape: Sequence[int], rescale: Rescale = "count", shared: bool = False) -> tuple[int, ...]:
    return (1 if shared else shape[0], *noise_shape_of(channels)(shape)[1:])


FACTS = Facts(
    name="DropHead",
    summary="Drops each attention head of each sample by a coin and scales the kept ones by H / K, all heads over those kept.",
    equation="y[b, h] = x[b, h] m[b, h] H / K[b],  K[b] = sum of m[b, h],  m ~ Bernoulli(1 - p)",
    paper="Zhou et al. 2020, arXiv:2004.13342",
    grain="head of a sample, or of the batch if shared",
    place="on the heads of attention, between the values and the projection that joins them",
    avoid="layers of one or two heads, where the coins often agree; layers whose heads are pruned or shared",
    default="0.2, from there to 0 while the learning rate warms up, and back again: thinnet.schedules.Piecewise",
    cost="one coin a head: a copy of the input, and a number for each head of a sample kept; shared in MultiheadAttention"
    " less than none: dropped heads are not computed",
    elsewhere="not in PyTorch, Keras or timm",
    domain="[0, 1)",
    mean=lambda x, p, **_: x,
    variance=variance,
    definition=definition,
    noise_shape=_noise_shape,
    independent=False,
)


def _by_count(x: Tensor, kept: Tensor) -> Tensor:
    """Scales by H / K in float32 at least: a scale rounded to bfloat16 would be a bias of the mean."""
    kept = kept | ~kept.any(1, keepdim=True)
    count = kept.sum(1, keepdim=True)
    scale = (x.shape[1] / count).to(torch.promote_types(x.dtype, torch.float32))
    return torch.where(kept, x * scale, 0).to(x.dtype)


def _drop(key: NoiseKey, x: Tensor, rescale: Rescale, shared: bool) -> Tensor:
    if x.ndim < 3:
        rule = "must have heads, (B, H, T, D)"
        raise ValueError(f"{key.function}: x {rule}; got shape {tuple(x.shape)}. Use x.unflatten(-1, (H, D)).transpose(1, 2).")
    if rescale == "rate":
        return key.apply_noise(x, (0, *channels(x.ndim)) if shared else channels(x.ndim))
    ops.check_input(x, key.function)
    return _by_count(x, key.mask(_noise_shape(x.shape, rescale, shared)))


def _check(function: str, rescale: Rescale) -> Rescale:
    if rescale not in ("count", "rate"):
        raise ValueError(f'{function}: rescale must be "count" or "rate"; got {rescale!r}. The paper scales by the count.')
    return rescale


def drop_head(
    x: Tensor,
    p: float | Tensor = 0.2,
    *,
    rescale: Rescale = "count",
    shared: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Drops whole attention heads of samples and scales the kept ones.

    y[b, h] = x[b, h] m[b, h] H / K[b], with m ~ Bernoulli(1 - p) and K the number of kept heads; a sample that would lose all
    heads loses none. The expectation is x, as with the 1 / (1 - p) that H / K comes to with many heads.

    Args:
        x: `(B, H, T, D)`, what the heads read from the values.
        p: probability that a head is dropped; honoured to 1/65536.
        rescale: "count" for H / K; "rate" for 1 / (1 - p), one coin a head and a sample without heads all zeros.
        shared: whether the samples of the batch lose the same heads.
        training: whether coins are tossed. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`.

    Raises: ValueError where `p` is not in [0, 1), `rescale` is another word, or `x` has fewer than 3 axes.

    Source: Zhou et al. 2020, arXiv:2004.13342.

    >>> scales = drop_head(torch.ones(3, 8, 1, 1), 0.2, training=True).flatten(1)
    >>> bool((scales.sum(1) == 8).all())  # of a sample, the heads weigh as much as before
    True
    """
    rescale = _check("drop_head", rescale)
    key = draw_key("drop_head", x, p, training, generator, below_one=True)
    return x if key is None else _drop(key, x, rescale, shared)


class DropHead(Site):
    """Drops whole attention heads of samples in training; does nothing in eval.

    y[b, h] = x[b, h] m[b, h] H / K[b], with m ~ Bernoulli(1 - p) and K the number of kept heads; a sample that would lose all
    heads loses none.

    Args:
        p: probability that a head is dropped; honoured to 1/65536.
        rescale: "count" for H / K; "rate" for 1 / (1 - p).
        shared: whether the samples of the batch lose the same heads, and all ranks too where the coins have names. Then
            `thinnet.nn.MultiheadAttention` does not compute the dropped heads, and the work of attention is that of the others.

    Shapes: `(B, H, T, D)`, the same out as in.

    Raises: ValueError where `p` is not in [0, 1), `rescale` is another word, or the input has fewer than 3 axes.

    Source: Zhou et al. 2020, arXiv:2004.13342.

    The V of the paper, for 10 000 steps, of which the first 2 000 warm up:

    >>> import thinnet
    >>> fall_and_rise = thinnet.schedules.Piecewise(((0, 0.2), (2_000, 0.0), (10_000, 0.2)))
    >>> model = torch.nn.Sequential(DropHead(0.2))
    >>> rng = thinnet.DropoutRNG(seed=0, schedules={"*": fall_and_rise}).bind(model)
    >>> [rng.at(step) and model[0].p for step in (0, 1_000, 2_000, 6_000, 10_000)]
    [0.2, 0.1, 0.0, 0.1, 0.2]
    """

    below_one = True

    def __init__(self, p: float = 0.2, rescale: Rescale = "count", shared: bool = False) -> None:
        super().__init__(p)
        self.rescale: Rescale = _check(type(self).__name__, rescale)
        self.shared = shared

    def drop(self, x: Tensor) -> Tensor:
        """Drops heads and scales the others."""
        key = self.key(x, None if self.shared else 0)
        return x if key is None else _drop(key, x, self.rescale, self.shared)

    def keep(self, x: Tensor, count: int) -> tuple[Tensor, float]:
        """Returns which of `count` shared heads are kept in this use, a bool tensor, and what they are multiplied by.

        The scale is rounded to float32 as it is where heads are computed and then dropped.
        """
        key = self.key(x, None)
        assert key is not None and self.shared
        kept = key.mask((count,))
        if self.rescale == "rate":
            return kept, float(key.scale)
        kept = kept | ~kept.any()
        return kept, float(count / kept.sum())

    def extra_repr(self) -> str:
        """Returns rate and settings."""
        return f"p={self.p}, rescale={self.rescale!r}" + (", shared=True" if self.shared else "")


METHODS = (Method(FACTS, DropHead, drop_head),)
