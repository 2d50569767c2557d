"""DropKey: keys are dropped before the softmax, each query losing its own, so that what is left is a distribution again.

    y[t, s] = z[t, s] where m[t, s], else -inf;  A = softmax(y);  m ~ Bernoulli(1 - p)

Nothing is scaled: the softmax does it. A query that would lose every key it may attend to loses none.
Li, Hu, Nie, Han, Jiang, Guo, Liu 2023, "DropKey", CVPR, arXiv:2208.02646.
"""

import torch
from torch import Tensor

from thinnet import ops
from thinnet.methods.call import draw_key
from thinnet.methods.facts import Facts, Method
from thinnet.rng import NoiseKey, Site


def definition(x: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns the logits of kept keys (u >= p), -inf for the others; rows of which nothing would be left as they are."""
    return _masked(x, u >= p)


FACTS = Facts(
    name="DropKey",
    summary="Sets the logits of dropped keys to -inf before the softmax, by a coin for each query and key; nothing is scaled.",
    equation="A = softmax(z where m, else -inf),  m ~ Bernoulli(1 - p)",
    paper="Li et al. 2023, arXiv:2208.02646",
    grain="logit: query and key of a head",
    place="on the logits of attention in vision transformers, more in early layers than in late ones",
    avoid="where attention has to be the same on average in training and in eval: the softmax of what is kept is not; on causal"
    " rows of few keys",
    default="0.3 in the first layer, less with depth: thinnet.schedules.DepthWise",
    cost="a coin a logit; a bool for each is kept beside the (B, H, T, S) weights, which fused attention does not store",
    elsewhere="not in PyTorch, Keras or timm; adding -1e12 instead, as some code does, overflows in float16 and has no guard",
    domain="[0, 1)",
    definition=definition,
    independent=False,
)


def _masked(x: Tensor, kept: Tensor) -> Tensor:
    left = (kept & (x > -torch.inf)).any(-1, keepdim=True)
    return torch.where(kept | ~left, x, -torch.inf)


def _drop(key: NoiseKey, x: Tensor) -> Tensor:
    ops.check_input(x, key.function)
    return _masked(x, key.mask(x.shape))


def drop_key(
    logits: Tensor,
    p: float | Tensor = 0.3,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Drops keys from attention before the softmax: their logits become -inf, and the softmax shares their weight out.

    y[t, s] = z[t, s] where m[t, s], else -inf, with m ~ Bernoulli(1 - p); a query that would lose all keys loses none.

    Args:
        logits: `(B, H, T, S)`, before the softmax; -inf where a query may not attend.
        p: probability that a query loses a key; honoured to 1/65536.
        training: whether coins are tossed. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `logits`.

    Raises: ValueError where `p` is not in [0, 1).

    Source: Li et al. 2023, arXiv:2208.02646.

    >>> weights = drop_key(torch.randn(2, 4, 6, 6), 0.3, training=True).softmax(-1)
    >>> bool((weights == 0).any()), torch.allclose(weights.sum(-1), torch.ones(2, 4, 6))
    (True, True)
    """
    key = draw_key("drop_key", logits, p, training, generator, below_one=True)
    return logits if key is None else _drop(key, logits)


class DropKey(Site):
    """Drops keys from attention in training, before the softmax; does nothing in eval.

    y[t, s] = z[t, s] where m[t, s], else -inf, with m ~ Bernoulli(1 - p); a query that would lose all keys loses none.

    Args:
        p: probability that a query loses a key; honoured to 1/65536.

    Shapes: logits `(B, H, T, S)`, the same out as in.

    Raises: ValueError where `p` is not in [0, 1).

    Source: Li et al. 2023, arXiv:2208.02646.

    >>> DropKey(0.3)(torch.zeros(1, 1, 2, 8)).softmax(-1).sum(-1)
    tensor([[[1., 1.]]])
    """

    below_one = True

    def __init__(self, p: float = 0.3) -> None:
        super().__init__(p)

    def drop(self, x: Tensor) -> Tensor:
        """Masks the dropped keys."""
        key = self.key(x)
        return x if key is None else _drop(key, x)

    def extra_repr(self) -> str:
        """Returns the rate."""
        return f"p={self.p}"


METHODS = (Method(FACTS, DropKey, drop_key),)
