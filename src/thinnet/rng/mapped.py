"""What the transforms of `torch.func` hide: whether a tensor stands for one index of a mapped axis."""

from torch import Tensor
from torch._C import _functorch as functorch  # type: ignore[attr-defined]

IN_VMAP = "Inside the mapped function call rng.at(step, samples=id), with the ids as one more mapped argument."


def is_mapped(x: Tensor) -> bool:
    """Returns whether `torch.func.vmap` maps an axis of `x`.

    >>> import torch
    >>> torch.func.vmap(lambda x: x + is_mapped(x))(torch.zeros(3)), is_mapped(torch.zeros(3))
    (tensor([1., 1., 1.]), False)
    """
    while functorch.is_functorch_wrapped_tensor(x):
        if functorch.is_batchedtensor(x):
            return True
        x = functorch.get_unwrapped(x)
    return False


def has_ended(x: Tensor) -> bool:
    """Returns whether `x` is of a transform that has ended, so that it stands for nothing any more."""
    if not functorch.is_functorch_wrapped_tensor(x):
        return False
    level = functorch.maybe_get_level(x)  # -1 once its `grad` has ended
    return level < 0 or level > (functorch.maybe_current_level() or 0)
