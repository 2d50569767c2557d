"""Rules for attention and norms under `torch.func.vmap`, where PyTorch has none or a slow one: draws join the batch."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import is_batchedtensor

Options = tuple[tuple[str, Any], ...]


class Attention(torch.autograd.Function):
    """`F.scaled_dot_product_attention` with a batch on axis 0, and a rule that joins one more axis with it."""

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, options: Options) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, mask, **dict(options))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        return None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """Joins the mapped axis and the batch."""
        n, (q, k, v, mask, options) = info.batch_size, args
        q, k, v = (_joined(each, dim, n) for each, dim in zip((q, k, v), in_dims, strict=False))
        if mask is not None and (in_dims[3] is not None or (mask.ndim == q.ndim and len(mask) > 1)):
            mask = _joined(mask, in_dims[3], n)
        return Attention.apply(q, k, v, mask, options).unflatten(0, (n, -1)), 0


def _joined(x: Tensor, dim: int | None, n: int) -> Tensor:
    return (x.expand(n, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)


def joins(given: Any) -> bool:
    """Returns whether `attended` takes a call, by the names of its arguments: it is mapped, and has a batch on axis 0."""
    parts = [given.get(name) for name in ("query", "key", "value", "attn_mask")]
    q, mask = parts[0], parts[3]
    if not any(is_batchedtensor(part) for part in parts if part is not None):
        return False
    batches = {len(part) for part in parts[:3] if part.ndim == q.ndim}
    fits = mask is None or not is_batchedtensor(mask) or (mask.ndim == q.ndim and len(mask) == len(q))
    return q.ndim > 2 and batches == {len(q)} and fits


def attended(given: Any) -> Tensor:
    """Returns the attention of a call, by the names of its arguments."""
    q, k, v, mask = (given.get(name) for name in ("query", "key", "value", "attn_mask"))
    options = tuple((name, given[name]) for name in ("is_causal", "scale", "enable_gqa") if name in given)
    return Attention.apply(q, k, v, mask, options)  # type: ignore[return-value]


class Norm(torch.autograd.Function):
    """`F.batch_norm` with running statistics, and a rule that joins one more axis with the batch."""

    @staticmethod
    def forward(x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        return None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """Joins the mapped axis and the batch."""
        n, (x, *rest) = info.batch_size, args
        return Norm.apply(_joined(x, in_dims[0], n), *rest).unflatten(0, (n, -1)), 0


def normed(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Returns `F.batch_norm`; if only the input is mapped, of one larger batch."""
    rest = running_mean, running_var, weight, bias
    mapped = any(is_batchedtensor(each) for each in rest if each is not None)
    if training or running_mean is None or mapped or not is_batchedtensor(input):
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    return Norm.apply(input, *rest, eps)  # type: ignore[return-value]
