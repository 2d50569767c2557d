"""DropAttention: drops attention weights or keys and renormalises each row."""

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


def definition(x: Tensor, u: Tensor, p: float, window: int = 1, columns: bool = False) -> Tensor:
    """Returns the rows without what a window covers; a window starts where u < 1 - (1 - p)^(1 / window)."""
    starts = u < 1 - (1 - p) ** (1 / window)
    return _normalised(x, torch.where(starts.unfold(-1, window, 1).any(-1), 0, x))


def _noise(shape: tuple[int, ...], window: int = 1, columns: bool = False) -> tuple[int, ...]:
    """Returns the shape of the window starts: for every key those that cover it, including those before the first key."""
    *outer, queries, keys = shape
    return (*outer, 1 if columns else queries, keys + window - 1)


FACTS = Facts(
    domain="[0, 1)",
    definition=definition,
    noise_shape=_noise,
    independent=False,
)


def _normalised(x: Tensor, kept: Tensor) -> Tensor:
    """Rescales the kept weights, in at least float32, to the row sums of `x`."""
    total = kept.sum(-1, keepdim=True)
    empty = total == 0
    ratio = x.sum(-1, keepdim=True, dtype=total.dtype) / torch.where(empty, 1, total)
    return in_format_of(x, torch.where(empty, x, kept * ratio).to(x.dtype))


def _drop(key: NoiseKey, x: Tensor, window: int, columns: bool) -> Tensor:
    if columns and x.ndim < 3:
        rule = "must have a batch axis, (B, ..., T, S), where columns are dropped"
        raise ValueError(f"{key.function}: weights {rule}; got shape {tuple(x.shape)}. Use weights[None].")
    ops.check_input(x, key.function)
    where = key.rate, *key.address
    if window == 1 and not columns and rows.served(x, where):
        return rows.drop_rows(x, False, where, lambda x: _rescaled(key, x, columns))
    if window == 1:
        return _rescaled(key, x, columns)
    wider = x.to(torch.promote_types(x.dtype, torch.float32))
    noise = key.uniform(_noise(tuple(x.shape), window, columns))
    covered = noise.unfold(-1, window, 1).amin(-1) < 1 - (1 - key.p) ** (1 / window)
    return _normalised(x, torch.where(covered, 0, wider))


def _rescaled(key: NoiseKey, x: Tensor, columns: bool) -> Tensor:
    """Drops single weights or keys: the scale of the noise cancels, and no mask is stored."""
    wider = x.to(torch.promote_types(x.dtype, torch.float32))
    return _normalised(x, key.apply_noise(wider, (x.ndim - 2,) if columns else ()))


def _check(function: str, window: int) -> int:
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise ValueError(f"{function}: window must be an integer of at least 1; got {window!r}. It counts keys in a row.")
    return window


def drop_attention(
    weights: Tensor,
    p: float | Tensor = 0.1,
    *,
    window: int = 1,
    columns: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `DropAttention`.

    Args:
        weights: `(B, H, T, S)`, after the softmax.
        training: whether to drop; `weights` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> y = drop_attention(torch.rand(2, 4, 6, 6).softmax(-1), 0.3, columns=True, training=True)
    >>> torch.allclose(y.sum(-1), torch.ones(2, 4, 6))
    True
    """
    if not isinstance(weights, Tensor):
        return no_tensor(drop_attention, locals())
    window = _check("drop_attention", window)
    key = draw_key("drop_attention", weights, p, training, generator, below_one=True)
    return weights if key is None else _drop(key, weights, window, columns)


class DropAttention(WeightsSite):
    """Drops attention weights, or whole keys of a head, and rescales each row to the sum it had.

        y[t, s] = A[t, s] m[t, s] sum(A[t]) / sum(A[t] m[t]),  m ~ Bernoulli(1 - p)

    sum(A[t]) is 1 after a softmax. A row that would lose all its weights stays unchanged.

    Noise shape: one decision per weight, or per key of a head with `columns`; a window covers that many neighbouring keys.
    Use when: rows must remain distributions: between the softmax of an attention layer and its values.
    Avoid when: the expectation of a weight must be exact: that of a ratio is not the ratio of expectations; or rows are causal
        and short.
    Start with: p from 0.1 to 0.2 on weights, window 1.
    Cost: attention dropout, two sums over a row and a division. `site(q, k, v)`, for window 1, computes attention with this
        dropout and stores no weights. A longer window draws 32 bits and stores a bool per weight or key.
    Other implementations: not in PyTorch, Keras or timm.

    Args:
        p: probability that a weight is dropped, the same for every key and window; rounded to 1/65536.
        window: number of neighbouring keys dropped together. Windows may begin before the first key and overlap. They start at
            rate 1 - (1 - p)^(1 / window), so each key is covered with probability exactly p.
        columns: whether all queries of a head lose the same keys.

    Shapes: `(B, H, T, S)`; the output has the shape and the row sums of the input.

    Raises: ValueError if `p` is not in [0, 1), or `window` is no integer of at least 1.

    Source: Zehui, Liu, Huang, Chen, Qiu, Huang 2019, "DropAttention", arXiv:1907.11065.

    >>> DropAttention(0.2, window=2)(torch.full((1, 1, 3, 5), 0.2)).sum(-1).allclose(torch.ones(1, 1, 3))
    True
    """

    below_one = True

    def __init__(self, p: float = 0.1, window: int = 1, columns: bool = False) -> None:
        super().__init__(p)
        self.window, self.columns = _check(type(self).__name__, window), columns

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        return x if key is None else _drop(key, x, self.window, self.columns)

    @property
    def fusable(self) -> bool:
        return self.window == 1

    def fused(self) -> dict[str, Any]:
        if not self.fusable:
            raise ValueError(f"DropAttention: window must be 1 where keys are passed; got {self.window}. Pass the weights.")
        return {"renormalised": True, "columns": self.columns}

    def extra_repr(self) -> str:
        return f"p={self.p}, window={self.window}, columns={self.columns}"


METHODS = (
    Method(
        FACTS, DropAttention, drop_attention, lambda x: drop_attention(x[None], 0.3, window=4, columns=True, training=True)[0]
    ),
)
