"""DropKey: drops keys before the softmax of attention."""

from typing import Any

import torch
from torch import Tensor

from thinnet import ops
from thinnet.methods.attention.attend import WeightsSite
from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import in_format_of
from thinnet.ops.fused import rows
from thinnet.rng import NoiseKey


def definition(x: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns the logits of kept keys (u >= p) and -inf for the others; rows that would lose every key stay unchanged."""
    return _masked(x, u >= p)


FACTS = Facts(
    domain="[0, 1)",
    definition=definition,
    independent=False,
)


def _masked(x: Tensor, kept: Tensor) -> Tensor:
    left = (kept & (x > -torch.inf)).any(-1, keepdim=True)
    return in_format_of(x, torch.where(kept | ~left, x, -torch.inf))


def _drop(key: NoiseKey, x: Tensor) -> Tensor:
    ops.check_input(x, key.function)
    where = key.rate, *key.address
    if rows.served(x, where):
        return rows.drop_rows(x, True, where, lambda x: _masked(x, key.mask(x.shape)))
    return _masked(x, key.mask(x.shape))


def drop_key(
    logits: Tensor,
    p: float | Tensor = 0.3,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `DropKey`.

    Args:
        logits: `(B, H, T, S)`, before the softmax; -inf where a query may not attend.
        training: whether to drop; `logits` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> weights = drop_key(torch.randn(2, 4, 6, 6), 0.3, training=True).softmax(-1)
    >>> bool((weights == 0).any()), torch.allclose(weights.sum(-1), torch.ones(2, 4, 6))
    (True, True)
    """
    if not isinstance(logits, Tensor):
        return no_tensor(drop_key, locals())
    key = draw_key("drop_key", logits, p, training, generator, below_one=True)
    return logits if key is None else _drop(key, logits)


class DropKey(WeightsSite):
    """Sets the logits of dropped keys to -inf before the softmax, so that each row remains a distribution.

        y[t, s] = z[t, s] where m[t, s], else -inf;  A = softmax(y);  m ~ Bernoulli(1 - p)

    Nothing is scaled, because the softmax normalises. A query that would lose every key it may attend to loses none.

    Noise shape: one decision per logit: query and key of a head.
    Use when: on the logits of attention in vision transformers, with higher rates in early layers.
    Avoid when: attention must have the same mean in training and in eval: the softmax of the kept keys has another; or rows are
        causal and short.
    Start with: p = 0.3 in the first layer, decreasing with depth: thinnet.schedules.DepthWise.
    Cost: one random decision per logit. `site(q, k, v)` computes attention with this dropout and stores neither weights nor
        mask. `site(logits)` stores a bool per logit beside the (B, H, T, S) weights.
    Other implementations: not in PyTorch, Keras or timm. Some code adds -1e12 instead, which overflows in float16 and can drop
        every key of a query.

    Args:
        p: probability that a query loses a key, rounded to 1/65536.

    Shapes: logits `(B, H, T, S)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1).

    Source: Li, Hu, Nie, Han, Jiang, Guo, Liu 2023, "DropKey", CVPR, arXiv:2208.02646.

    >>> DropKey(0.3)(torch.zeros(1, 1, 2, 8)).softmax(-1).sum(-1)
    tensor([[[1., 1.]]])
    """

    below_one = True

    def __init__(self, p: float = 0.3) -> None:
        super().__init__(p)

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        return x if key is None else _drop(key, x)

    def fused(self) -> dict[str, Any]:
        return {"renormalised": True}

    def extra_repr(self) -> str:
        return f"p={self.p}"


METHODS = (Method(FACTS, DropKey, drop_key),)
