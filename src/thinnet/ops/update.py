"""Steps of SGD and AdamW with a compact gradient: every number is updated, zeros of the gradient are not read."""

import torch
from torch import Tensor

from thinnet.ops import schema
from thinnet.ops.compact import Part

library = torch.library.Library("thinnet", "FRAGMENT")
PART = "Tensor part, Tensor? rows, Tensor? columns"
TAGS = (torch.Tag.pt2_compliant_tag,)
library.define(
    f"sgd_(Tensor(a!) x, Tensor(b!)? buffer, {PART}, float lr, float momentum, float dampening, float weight_decay,"
    " bool nesterov, bool maximize) -> ()",
    tags=TAGS,
)
library.define(
    f"adamw_(Tensor(a!) x, Tensor(b!) mean, Tensor(c!) square, Tensor(d!)? largest, {PART}, float step, float lr, float beta1,"
    " float beta2, float eps, float weight_decay, bool maximize) -> ()",
    tags=TAGS,
)


def sgd(
    x: Tensor,
    buffer: Tensor | None,
    gradient: Part,
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """Updates a parameter and its momentum buffer in place, as `torch.optim.SGD` does."""
    options = float(lr), momentum, dampening, float(weight_decay), nesterov, maximize
    with schema.below_autograd():
        torch.ops.thinnet.sgd_.default(x, buffer, *_part(gradient), *options)
    _written(x, buffer)


def adamw(
    x: Tensor,
    mean: Tensor,
    square: Tensor,
    largest: Tensor | None,
    gradient: Part,
    *,
    step: float,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """Updates a parameter and its averages in place, as `torch.optim.AdamW` does."""
    options = step, float(lr), float(betas[0]), float(betas[1]), eps, float(weight_decay), maximize
    with schema.below_autograd():
        torch.ops.thinnet.adamw_.default(x, mean, square, largest, *_part(gradient), *options)
    _written(x, mean, square, largest)


def _part(gradient: Part) -> tuple[Tensor, Tensor | None, Tensor | None]:
    assert gradient.part is not None
    return gradient.part[0], gradient.rows, gradient.columns


def _written(*tensors: Tensor | None) -> None:
    for tensor in tensors:
        if tensor is not None:
            torch.autograd.graph.increment_version(tensor)
