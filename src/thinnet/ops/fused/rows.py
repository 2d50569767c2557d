"""Dropout of attention by rows, in one pass: of logits before the softmax, and of weights that keep their sum behind it.

`served` says where these kernels run. Elsewhere the methods compose the same masks from `apply_noise`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thinnet.ops import schema
from thinnet.ops.autograd import EagerFunction, without_autograd
from thinnet.ops.fused.call import served as plain
from thinnet.ops.reference import Where

library = torch.library.Library("thinnet", "FRAGMENT")
ADDRESS = "Tensor rate, Tensor seed, Tensor? step, Tensor? site, Tensor? samples"
TAGS = (torch.Tag.pt2_compliant_tag,)
library.define(f"drop_rows(Tensor x, bool logits, {ADDRESS}) -> (Tensor, Tensor)", tags=TAGS)
library.define(f"drop_rows_backward(Tensor gradient, Tensor x, bool logits, {ADDRESS}) -> Tensor", tags=TAGS)


@torch.library.register_fake("thinnet::drop_rows_backward", lib=library)
def _fake_backward(gradient: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(gradient)


def served(x: Tensor, where: Where) -> bool:
    """Returns whether a kernel takes `x`: plain eager code on a contiguous CPU tensor whose samples are no rows."""
    eager = x.is_cpu and not torch.compiler.is_compiling() and x.is_contiguous() and x.ndim > (where[4] is not None)
    return eager and plain((x,), where)


def drop_rows(x: Tensor, logits: bool, where: Where, composed: Callable[[Tensor], Tensor]) -> Tensor:
    """Returns rows of attention without what is dropped; a row that would lose everything stays. `x` must be `served`.

    Args:
        x: rows on the last axis.
        logits: whether dropped numbers become -inf. If not, they become 0, and the kept ones are scaled to the sum of the row.
        where: rate, seed, step, site and samples.
        composed: the same as operations that have second derivatives.
    """
    if schema.differentiated(x):
        return DropRows.apply(x, logits, where, composed)  # type: ignore[attr-defined]
    with schema.below_autograd():
        return torch.ops.thinnet.drop_rows.default(x, logits, *where)[0]


class DropRows(EagerFunction):
    """Keeps a byte for each row of logits; of weights, the weights that the softmax keeps anyway."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, logits: bool, where: Where, composed: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.logits, ctx.where, ctx.composed = logits, where, composed
        with schema.below_autograd():
            y, ctx.kept = torch.ops.thinnet.drop_rows.default(x, logits, *where)
        ctx.save_for_backward(None if logits else x)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        (x,), gradient = ctx.saved_tensors, gradients[0]
        if torch.is_grad_enabled():
            return _again(ctx, x, gradient), None, None, None
        read, operation = ctx.kept if ctx.logits else x, torch.ops.thinnet.drop_rows_backward.default
        return without_autograd(operation, gradient.contiguous(), read, ctx.logits, *ctx.where), None, None, None


def _again(ctx: Any, x: Tensor | None, gradient: Tensor) -> Tensor:
    """Returns the gradient as operations that have derivatives. That of logits is linear: dropped keys get zero."""
    if x is None:
        kept = ctx.kept.reshape(*gradient.shape[:-1], 1) == 0
        mask = torch.ops.thinnet.drop_rows.default(torch.zeros_like(gradient), True, *ctx.where)[0] == 0
        return torch.where(mask | kept, gradient, 0)
    return torch.autograd.grad(ctx.composed(x), x, gradient, create_graph=True)[0]
