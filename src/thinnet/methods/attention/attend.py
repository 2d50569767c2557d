"""Attention with the mask of a key: the one way from a method to the fused operation."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from thinnet.methods.attention import jagged
from thinnet.methods.attention.parts import local_parts, placed_as
from thinnet.ops.attention import attention, is_faster
from thinnet.ops.dtensor import is_sharded
from thinnet.rng import NoiseKey, Site, rates
from thinnet.rng.site import recorded


def logits(q: Tensor, k: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None) -> Tensor:
    """Returns q k' scale + mask, `(..., T, S)`: the input of the softmax."""
    z = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.transpose(-2, -1)
    if is_causal:
        past = torch.ones(z.shape[-2:], dtype=torch.bool, device=z.device).tril()
        mask = past if mask is None else mask & past if mask.dtype == torch.bool else mask.where(past, -torch.inf)
    if mask is None:
        return z
    return z.where(mask, -torch.inf) if mask.dtype == torch.bool else z + mask


def softmax(z: Tensor, masked: bool) -> Tensor:
    """Returns the softmax over keys, with zeros instead of NaN where all keys of a query are masked."""
    if not masked:
        return z.softmax(-1)
    nothing = z.amax(-1, keepdim=True) == -torch.inf
    return z.masked_fill(nothing, 0).softmax(-1).masked_fill(nothing, 0)


def attend(
    key: NoiseKey | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    window: tuple[int | None, int | None] = (None, None),
    **options: Any,
) -> Tensor:
    """Returns attention with the dropout of `key`, or with none, `(B, H, T, E)`; axes in front may be more, or missing.

    Without dropout PyTorch's operation computes it, or ours where that is faster; both agree up to rounding.

    Args:
        options: those of `thinnet.ops.attention.attention`.
    """
    limited = options or tuple(window) != (None, None)  # PyTorch's operation has neither
    if is_causal:
        window = window[0], 0
    function = "attention" if key is None else key.function
    if jagged.is_jagged(q):
        if mask is not None or "query_starts" in options:
            raise ValueError(
                f"{function}: mask and starts must be left out for nested tensors; got one. Use is_causal or window."
            )
        parts, starts = jagged.packed(function, q, k, v)
        return jagged.nested(attend(key, *parts, scale=scale, window=window, **starts, **options), q)  # pyright: ignore[reportCallIssue]
    if key is None and not limited and not is_faster(q, k, v):
        gqa = {"enable_gqa": True} if q.ndim > 2 and q.shape[-3] != k.shape[-3] else {}
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal, scale=scale, **gqa)
    lead = torch.broadcast_shapes(*(x.shape[: _leading(q)] for x in (q, k, v)))
    whole = [_four_axes(x, lead) for x in _one_dtype(q, k, v)]
    if mask is not None and mask.ndim > 2 and q.ndim != 4:
        mask = mask.expand(*lead, *mask.shape[-2:]).flatten(0, -3)[:, None] if q.ndim < 4 else _four_axes(mask, lead)
    where: dict[str, Any] = {}
    if key is None:
        rate, seed = rates.tensor(0.0, q.device), torch.zeros((), dtype=torch.int64, device=q.device)
    else:
        rate, seed = key.rate, key.seed
        where = {"step": key.step, "site": key.site, "samples": key.samples}
    y, _ = attention(*whole, rate, seed, **where, mask=mask, scale=scale, window=window, function=function, **options)  # pyright: ignore[reportCallIssue]
    return y if q.ndim == 4 else y.reshape(*lead, *y.shape[1 if q.ndim > 4 else 2 :])


def _leading(q: Tensor) -> int:
    """Returns how many axes in front count samples; with fewer than four axes there is one head."""
    return -3 if q.ndim > 3 else -2


def _four_axes(x: Tensor, lead: tuple[int, ...]) -> Tensor:
    rest = x.shape[_leading(x) :]
    x = x if x.shape[: _leading(x)] == lead else x.expand(*lead, *rest)
    return x if x.ndim == 4 else x.reshape(-1, *((1,) if len(rest) == 2 else ()), *rest)


def _one_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Returns the tensors in the dtype of autocast, where that is on."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device) or tensors[0].dtype == torch.float64:
        return tensors
    return tuple(x.to(torch.get_autocast_dtype(device)) for x in tensors)


Factors = Callable[[Tensor], Tensor] | None


class WeightsSite(Site):
    """A site that drops attention weights: `site(weights)`, or fused with the attention around it, `site(q, k, v)`."""

    def forward(
        self, input: Any, k: Tensor | None = None, v: Tensor | None = None, factors: Factors = None, **options: Any
    ) -> Tensor:
        """Returns the input, weights or logits, with noise in training; with k and v, the attention of its queries.

        Args:
            input: `(B, H, T, S)`, or queries `(B, H, T, D)`.
            k: keys, `(B, G, S, D)`.
            v: values, `(B, G, S, E)`.
            factors: a function from the input to factors of its heads, `(B, H)`; it draws behind the noise of the weights.
            options: `mask`, `is_causal`, `scale` and `window`, as in `thinnet.functional.attention`.
        """
        if not isinstance(input, Tensor):
            return recorded(self, input, *(() if k is None else (k, v)), **options)
        if k is None:
            if self.part is not None and type(self).drop is not Site.drop:
                rule = "DropoutParallel cuts noise that has the shape of the input, or fused attention"
                raise TypeError(f"{rule}; got the weights of {type(self).__name__}. Call it as site(q, k, v).")
            return self.drop(input)
        assert v is not None
        if "apply_noise" in vars(self):  # exact averages take the place of the noise
            y = self._unfused(input, k, v, **options)
        elif is_sharded(input):
            key, x_here, k_here, v_here, here = local_parts(self.key(input), input, k, v, {**options, **self.fused()})  # type: ignore[arg-type]
            y = placed_as(input, attend(key, x_here, k_here, v_here, **here))  # type: ignore[arg-type]
        else:
            key = self.key(input)
            of_heads: dict[str, Any] = {} if factors is None else {"head_scale": factors(input)}
            return attend(key, input, k, v, **options, **of_heads, **self.fused(), **self._heads(input, options))
        return y if factors is None else y * factors(input)[..., None, None].to(y.dtype)

    def _heads(self, q: Tensor, options: dict[str, Any]) -> dict[str, Any]:
        """Returns the numbers of the heads of this rank, where the ranks share the heads."""
        if self.part is None:
            return {}
        if self.part.axis % q.ndim != q.ndim - 3 or "heads" in options:
            rule = "DropoutParallel: attention must be cut along its heads, axis 1"
            raise ValueError(f"{rule}; got axis {self.part.axis}. Use ring_attention for parts of a sequence.")
        return {"heads": self.part.positions(q.shape[-3], q.device)}

    def _unfused(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, is_causal: bool = False, scale: float | None = None
    ) -> Tensor:
        group = q.shape[-3] // k.shape[-3]
        k, v = (x.repeat_interleave(group, -3) for x in (k, v))
        return self.drop(softmax(logits(q, k, mask, is_causal, scale), mask is not None)) @ v

    @property
    def fusable(self) -> bool:
        """Whether the fused operation has the noise of this site."""
        return True

    def fused(self) -> dict[str, Any]:
        """Returns the options of the fused operation that make its weights those of this site."""
        return {}
