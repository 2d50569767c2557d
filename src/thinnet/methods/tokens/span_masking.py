"""Span masking: replaces spans of a sequence, at an exact rate."""

from typing import Any

import torch
from torch import Tensor, nn

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.spatial import blocks
from thinnet.ops import check_input
from thinnet.rng import NoiseKey, Site


def checked(function: str, name: str, value: object) -> int:
    """Returns a positive integer, or raises a ValueError."""
    if type(value) is not int or value < 1:
        raise ValueError(f"{function}: {name} must be a positive integer; got {value!r}. wav2vec 2.0 masks 10 steps.")
    return value


def seed_rate(p: Any, length: int) -> Any:
    """Returns the rate at which spans start so that each position is in at least one of them with probability p."""
    exact = 1 - (1 - torch.as_tensor(p, dtype=torch.float64)) ** (1 / length)
    return (exact * blocks.SPACING).round() / blocks.SPACING


def covered(p: float, length: int) -> float:
    """Returns the probability of a position to be masked at the rate of starts, which is rounded to 2^-23."""
    return 1 - (1 - float(seed_rate(p, length))) ** length


def definition(x: Tensor, u: Tensor, p: float, length: int = 10, fill: float = 0.0) -> Tensor:
    """Returns `x` with `fill` in each span that starts; a span that starts before the sequence is cut off."""
    y, steps = x.clone(), x.shape[1]
    for sample, starts in enumerate((u < seed_rate(p, length)).tolist()):
        for first in [at - length + 1 for at, starts_here in enumerate(starts) if starts_here]:
            y[sample, max(0, first) : max(0, min(steps, first + length))] = fill
    return y


FACTS = Facts(
    expected_drop=lambda p, length=10: covered(p, length),
    mean=lambda x, p, length=10: x * (1 - covered(p, length)),
    variance=lambda x, p, length=10: x * x * covered(p, length) * (1 - covered(p, length)),
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, length=10, **_: (shape[0], shape[1] + length - 1),
    independent=False,
    used_by=(Use("transformers, wav2vec 2.0 and HuBERT", "mask_time_prob=0.05, mask_time_length=10"),),
)


def _mask(key: NoiseKey, x: Tensor, length: int, fill: float | Tensor) -> Tensor:
    if x.ndim != 3:
        raise ValueError(f"{key.function}: x must be (B, T, D); got shape {tuple(x.shape)}. Bring the steps to axis 1.")
    check_input(x, key.function)
    starts = key.uniform((x.shape[0], x.shape[1] + length - 1)) < seed_rate(key.p, length)
    masked = blocks.spread(starts[:, None], (length,))[:, 0, length - 1 :][:, : x.shape[1]]
    return torch.where(masked[..., None], fill.to(x.dtype) if isinstance(fill, Tensor) else fill, x)


def span_masking(
    x: Tensor,
    p: float | Tensor = 0.05,
    *,
    length: int = 10,
    fill: float | Tensor = 0.0,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `SpanMasking`.

    Args:
        x: `(B, T, D)`.
        fill: a number, or a vector `(D,)`, that replaces each masked step.
        training: whether to mask; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> y = span_masking(torch.ones(64, 1000, 2), 0.25, length=10, training=True)
    >>> bool(((y == 0).double().mean() - 0.25).abs() < 0.02)
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(span_masking, locals())
    length = checked("span_masking", "length", length)
    key = draw_key("span_masking", x, p, training, generator)
    return x if key is None else _mask(key, x, length, fill)


class SpanMasking(Site):
    """Replaces spans of each sequence by zeros or a learned vector; each step is masked with probability p. Nothing is scaled.

        y[b, t, :] = fill where s[b, t-k+1 .. t] holds a start, else x[b, t, :]
        s ~ Bernoulli(1 - (1 - p)^(1/k)),  k = length

    Spans may overlap, and a start may lie up to k - 1 steps before the sequence. So each step has k possible starts, and the
    share p is exact for every step, for sequences shorter than a span and inside padded batches: a sequence keeps its mask
    whatever padding follows it. A mask of features is the same on `x.mT`.

    Noise shape: one decision per step and sample, of which each covers k steps; all features of a step together.
    Use when: on the features of a speech encoder, before its transformer: as the task of pre-training, or in fine-tuning.
    Avoid when: a value is predicted at each step from this step alone.
    Start with: p = 0.05, length 10 and a learned vector in fine-tuning; p = 0.49 in pre-training.
    Cost: one random number per step, and a selection.
    Other implementations: transformers' mask_time_prob is an upper bound: 0.65 with length 10 masks about 49 % of long
        sequences, and `_compute_mask_indices` refuses sequences shorter than a span.

    Args:
        p: probability that a step is masked, rounded to 1/65536.
        length: steps of a span.
        features: the size of a learned vector that replaces masked steps, the parameter `fill`; None for zeros.

    Shapes: `(B, T, D)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1], `length` is no positive integer, or an input has other axes; TypeError if it is
        an integer, bool, quantised or sparse tensor.

    Source: Baevski, Zhou, Mohamed, Auli 2020, "wav2vec 2.0", NeurIPS, arXiv:2006.11477, section 3.2 and appendix A.

    >>> layer = SpanMasking(0.5, length=4, features=8)
    >>> layer(torch.randn(2, 20, 8)).shape, list(layer.state_dict())
    (torch.Size([2, 20, 8]), ['fill'])
    """

    fill: float | nn.Parameter

    def __init__(self, p: float = 0.05, length: int = 10, features: int | None = None) -> None:
        super().__init__(p)
        self.length = checked("SpanMasking", "length", length)
        if features is None:
            self.fill = 0.0
        else:
            self.fill = nn.Parameter(torch.rand(checked("SpanMasking", "features", features)))

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        return x if key is None else _mask(key, x, self.length, self.fill)

    def extra_repr(self) -> str:
        return f"p={self.p}, length={self.length}"


METHODS = (Method(FACTS, SpanMasking, span_masking, lambda x: span_masking(x.T[None], 0.3, length=8, training=True)[0].T),)
