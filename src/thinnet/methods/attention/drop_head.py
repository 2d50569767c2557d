"""DropHead: drops whole attention heads."""

from collections.abc import Sequence
from math import comb
from typing import Literal

import torch
from torch import Tensor

from thinnet import ops
from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.elementwise.selection import where_kept
from thinnet.methods.facts import Facts, Method
from thinnet.methods.noise_shapes import channels, noise_shape_of
from thinnet.methods.numbers import wide
from thinnet.rng import NoiseKey, Site

Rescale = Literal["count", "rate"]


def definition(x: Tensor, u: Tensor, p: float, rescale: Rescale = "count", shared: bool = False) -> Tensor:
    """Returns the kept heads (u >= p), scaled by their count or by the rate."""
    kept, scale = (u >= p, 1 / (1 - p)) if rescale == "rate" else _by_count(x, u >= p)
    return torch.where(kept, x * scale, 0)


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
    domain="[0, 1)",
    mean=lambda x, p, **_: x,
    variance=variance,
    definition=definition,
    noise_shape=_noise_shape,
    independent=False,
)


def _by_count(x: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Returns who stays, and the scale H / K in at least float32: rounded to bfloat16 it would bias the mean."""
    kept = kept | ~kept.any(1, keepdim=True)
    return kept, x.shape[1] / kept.sum(1, keepdim=True).to(wide(x))


def scales(key: NoiseKey, samples: int, heads: int, rescale: Rescale = "count", shared: bool = False) -> Tensor:
    """Returns the factor of each head of each sample, `(B, H)` or `(1, H)`, in float32; 0 where it is dropped."""
    ones = torch.ones(1 if shared else samples, heads, 1, 1, device=key.rate.device)
    return _drop(key, ones, rescale, shared).flatten(1)


def _drop(key: NoiseKey, x: Tensor, rescale: Rescale, shared: bool) -> Tensor:
    if x.ndim < 3:
        rule = "must have heads, (B, H, T, D)"
        raise ValueError(f"{key.function}: x {rule}; got shape {tuple(x.shape)}. Use x.unflatten(-1, (H, D)).transpose(1, 2).")
    if rescale == "rate":
        return key.apply_noise(x, (0, *channels(x.ndim)) if shared else channels(x.ndim))
    ops.check_input(x, key.function)
    return where_kept(x, *_by_count(x, key.mask(_noise_shape(x.shape, rescale, shared))))


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
    """Functional form of `DropHead`.

    Args:
        x: `(B, H, T, D)`, the outputs of the heads.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> scales = drop_head(torch.ones(3, 8, 1, 1), 0.2, training=True).flatten(1)
    >>> bool((scales.sum(1) == 8).all())  # the scales of a sample's heads sum to H
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(drop_head, locals())
    rescale = _check("drop_head", rescale)
    key = draw_key("drop_head", x, p, training, generator, below_one=True)
    return x if key is None else _drop(key, x, rescale, shared)


class DropHead(Site):
    """Drops each attention head of each sample and scales the kept ones by H / K: all heads over kept heads.

        y[b, h] = x[b, h] m[b, h] H / K[b],  K[b] = sum of m[b, h] over the H heads,  m ~ Bernoulli(1 - p)

    A sample that would lose all heads loses none, so the expectation is exactly x. For K > 0, E[m H / K] = E[K / K] by the
    symmetry of the heads; a sample that would lose all adds p^H x.

    Noise shape: one decision per head of a sample, or of the batch if `shared`.
    Use when: on the heads of attention, between the values and the output projection.
    Avoid when: a layer has one or two heads, whose decisions often agree; or its heads are pruned or shared.
    Start with: p = 0.2, falling to 0 while the learning rate warms up, then rising back: thinnet.schedules.Piecewise.
    Cost: one random decision per head, a copy of the input, and one stored number per head of a sample. In MultiheadAttention
        the attention kernel skips dropped heads instead; shared heads are not projected either.
    Other implementations: not in PyTorch, Keras or timm.

    Args:
        p: probability that a head is dropped, rounded to 1/65536.
        rescale: "count" scales by H / K; "rate" scales by 1 / (1 - p), and a sample that loses all heads is zero.
        shared: whether all samples of the batch, and all ranks with addressed masks, lose the same heads. Then
            `thinnet.nn.MultiheadAttention` does not compute the dropped heads.

    Shapes: `(B, H, T, D)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1), `rescale` is neither, or the input has fewer than 3 axes.

    Source: Zhou, Ge, Xu, Wei, Zhou 2020, "Scheduled DropHead", arXiv:2004.13342.

    >>> import thinnet  # the V-shaped schedule of the paper: 2 000 warm-up steps of 10 000
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
        key = self.key(x, None if self.shared else 0)
        return x if key is None else _drop(key, x, self.rescale, self.shared)

    def factors(self, x: Tensor) -> Tensor:
        """Returns the factors of the heads of `x`, `(B, H, T, D)`, in this use: `(B, H)` or `(1, H)`, 0 for a dropped one."""
        key = self.key(x, None if self.shared else 0)
        assert key is not None
        return scales(key, x.shape[0], x.shape[1], self.rescale, self.shared)

    def keep(self, x: Tensor, count: int) -> tuple[Tensor, float]:
        """Returns which of `count` shared heads this use keeps, a bool tensor, and their scale."""
        key = self.key(x, None)
        assert key is not None and self.shared
        kept = key.mask((count,))
        if self.rescale == "rate":
            return kept, float(key.scale)
        kept = kept | ~kept.any()
        return kept, count / int(kept.sum())

    def extra_repr(self) -> str:
        return f"p={self.p}, rescale={self.rescale!r}" + (", shared=True" if self.shared else "")


METHODS = (Method(FACTS, DropHead, drop_head),)
