"""HiddenCut: sets one span of each sequence's hidden states to zero."""

from typing import Any

import torch
from torch import Tensor

from thinnet.methods import spans
from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.elementwise.selection import where_kept
from thinnet.methods.facts import Facts, Method
from thinnet.ops import check_input
from thinnet.rng import NoiseKey, Site, rates


def span(tokens: int, p: float) -> int:
    """Returns the number of tokens that are cut, p T rounded to the nearest integer, halves up.

    >>> span(20, 0.1), span(7, 0.5), span(5, 0.7)
    (2, 4, 4)
    """
    return _rounded(tokens, rates.count(p))


def _rounded(tokens: int, rate: Any) -> Any:
    """Returns the same for a rate in 65536ths, from which p may differ by half of one: a half that is as near counts as one."""
    near = min(tokens, rates.RESOLUTION)
    return (2 * tokens * rate + near + rates.RESOLUTION - 1) // (2 * rates.RESOLUTION)


def cut_share(tokens: int, p: float) -> Tensor:
    """Returns the probability of each token to be cut by a uniform span: inner tokens are in more spans."""
    return spans.share(tokens, span(tokens, p))


def mean(x: Tensor, p: float) -> Tensor:
    """Returns x (1 - c), with c the probability of a token to be cut."""
    return x * (1 - cut_share(x.shape[1], p)[:, None])


def variance(x: Tensor, p: float) -> Tensor:
    """Returns x^2 c (1 - c)."""
    c = cut_share(x.shape[1], p)[:, None]
    return x * x * c * (1 - c)


def definition(x: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns `x` without the span that begins at floor(u (T - k + 1))."""
    y, cut = x.clone(), span(x.shape[1], p)
    for sample, first in enumerate((u[:, 0] * (x.shape[1] - cut + 1)).long().tolist()):
        y[sample, first : first + cut] = 0
    return y


FACTS = Facts(
    expected_drop=lambda p: p,
    mean=mean,
    variance=variance,
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, **_: (shape[0], 1),
    independent=False,
)


def _starts(u: Tensor, scores: Tensor, cut: Tensor) -> Tensor:
    """Returns the first token of each span, `(B, 1)`, with probability proportional to the scores of the span."""
    tokens = scores.shape[1]
    upto = torch.nn.functional.pad(scores.detach().double(), (1, 0)).cumsum(1)
    first = torch.arange(tokens + 1, device=u.device)
    received = upto.gather(1, (first + cut).clamp(max=tokens).expand_as(upto)) - upto
    chances = torch.where(first <= tokens - cut, received + torch.finfo(torch.float32).tiny, 0).cumsum(1)
    return (chances <= u * chances[:, -1:]).sum(1, keepdim=True).minimum(tokens - cut)


def _cut(key: NoiseKey, x: Tensor, scores: Tensor | None) -> Tensor:
    if x.ndim != 3:
        raise ValueError(f"{key.function}: x must be (B, T, D); got shape {tuple(x.shape)}. Bring the tokens to axis 1.")
    if scores is not None and scores.shape != x.shape[:2]:
        shapes = f"{tuple(x.shape[:2])}; got {tuple(scores.shape)}. Sum the attention over heads and queries."
        raise ValueError(f"{key.function}: scores must be (B, T) = {shapes}")
    check_input(x, key.function)
    tokens = x.shape[1]
    cut = _rounded(tokens, key.rate.long())
    u = key.uniform((len(x), 1))
    first = spans.start(u, tokens - cut + 1) if scores is None else _starts(u, scores, cut)
    return where_kept(x, ~spans.inside(first[:, 0], cut, tokens)[..., None])


def hidden_cut(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    scores: Tensor | None = None,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `HiddenCut`.

    Args:
        x: `(B, T, D)`.
        scores: `(B, T)`, not negative: the attention that each token receives. A span has probability proportional to the sum
            of its scores, so attended tokens are cut more often, and padding without scores never. None, or scores of zero,
            make all spans equally likely.
        training: whether to cut; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> hidden_cut(torch.ones(1, 5, 1), 0.4, scores=torch.tensor([[0.0, 0, 0, 1, 1]]), training=True).sum()
    tensor(3.)
    """
    if not isinstance(x, Tensor):
        return no_tensor(hidden_cut, locals())
    key = draw_key("hidden_cut", x, p, training, generator)
    return x if key is None else _cut(key, x, scores)


class HiddenCut(Site):
    """Sets the hidden states of one contiguous span of each sequence to zero, and scales nothing.

        y[b, t, :] = 0 where a[b] <= t < a[b] + k, else x[b, t, :];  k = p T rounded to the nearest integer
        a ~ Uniform{0 .. T-k}, or with probability proportional to the attention that the span receives

    The paper cuts after the feed-forward part of every layer, chooses spans by the attention in that layer and adds a
    Jensen-Shannon loss between cut and uncut passes. This method does not include the loss. It also selects spans differently:
    here a start has probability proportional to the attention of its span.

    Noise shape: one place per sequence.
    Use when: after the feed-forward part of the layers of a transformer in fine-tuning, with a consistency loss.
    Avoid when: each position is predicted; or sequences are mostly padding, unless `scores` exclude it.
    Start with: p = 0.1.
    Cost: one random number per sequence and a selection; one byte per token is stored.
    Other implementations: the authors' code for one model; no library.

    Args:
        p: length of the span as a fraction of the sequence, rounded to a whole number of tokens.

    Shapes: `(B, T, D)`; the output has the shape of the input. `forward(x, scores)` takes the attention received, `(B, T)`.

    Raises: ValueError if `p` is not in [0, 1], or an input has other axes; TypeError if it is an integer, bool, quantised or
        sparse tensor.

    Source: Chen, Shen, Chen, Yang 2021, ACL, arXiv:2106.00149.

    >>> int((HiddenCut(0.25)(torch.ones(2, 8, 3)) == 0).sum())  # two tokens of each
    12
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def forward(self, input: Tensor, scores: Tensor | None = None) -> Tensor:
        return super().forward(input) if scores is None else self.drop(input, scores)

    def drop(self, x: Tensor, scores: Tensor | None = None) -> Tensor:
        key = self.key(x)
        return x if key is None else _cut(key, x, scores)

    def extra_repr(self) -> str:
        return f"p={self.p}"


METHODS = (Method(FACTS, HiddenCut, hidden_cut, lambda x: hidden_cut(x.T[None], 0.3, training=True)[0].T),)
