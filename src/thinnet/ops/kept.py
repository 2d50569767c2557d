"""The units with the smallest numbers, in ascending order: which units a fixed count keeps."""

import torch
from torch import Tensor

from thinnet.ops import gpu, schema

library = torch.library.Library("thinnet", "FRAGMENT")
library.define(
    "smallest(Tensor numbers, int width, int whole, float more) -> (Tensor, Tensor)", tags=(torch.Tag.pt2_compliant_tag,)
)


def smallest(numbers: Tensor, width: int, whole: int, more: float) -> tuple[Tensor, Tensor]:
    """Returns the units with the smallest numbers, `(groups, width)`, ascending, and whether each of them is kept.

    Equal numbers count in the order of their units. Of the units, the `whole` smallest are kept, or `whole + 1`; the others
    only fill the width.

    Args:
        numbers: `(groups, units + 1)`, in (0, 1), float32; the last one of a group decides between `whole` and `whole + 1`.
        width: how many units to return.
        whole: how many units each group keeps at least.
        more: the probability of one more.

    >>> numbers = torch.tensor([[0.5, 0.1, 0.9, 0.3, 0.7]])
    >>> smallest(numbers, 3, 1, 0.8), smallest(numbers, 3, 1, 0.6)
    ((tensor([[0, 1, 3]]), tensor([[False,  True,  True]])), (tensor([[0, 1, 3]]), tensor([[False,  True, False]])))
    """
    if not is_plain():
        return in_order(numbers, width, whole, more)
    with schema.below_autograd():
        return torch.ops.thinnet.smallest.default(numbers, width, whole, more)


def is_plain() -> bool:
    """Returns whether operations run at once, and nobody watches them who knows those of PyTorch alone."""
    traced = torch.compiler.is_compiling() or torch._C._is_tracing() or schema.transformed()
    return not traced and not torch._C._len_torch_dispatch_stack()


def in_order(numbers: Tensor, width: int, whole: int, more: float) -> tuple[Tensor, Tensor]:
    """Defines `smallest`, in operations of PyTorch: two sorts."""
    units = numbers.shape[1] - 1
    chosen, order = numbers[:, :units].argsort(dim=1, stable=True)[:, :width].sort(dim=1)
    live = torch.arange(width, device=chosen.device) < whole + (numbers[:, units:] < more)
    return chosen, live.gather(1, order)


library.impl("smallest", in_order, "CompositeExplicitAutograd")
gpu.register(library, "kept", "smallest")
