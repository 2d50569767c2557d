"""A copy of a model that is free to be changed: its sites are bound to no coins, and none is pinned on."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from thinnet.inference.mode.structure import structure
from thinnet.models.edit.checks import checked
from thinnet.models.rewrite.edits import ABSENT
from thinnet.models.rewrite.methods import Mode, Pinned
from thinnet.rng.calls import CallCounter


def free_copy(function: str, model: nn.Module) -> nn.Module:
    """Returns a deep copy of a model without the names of its coins; what is pinned off has rate 0 there.

    Args:
        function: the name that an error gives.
        model: any module; it is left as it is.

    Raises: TypeError where `model` is no module, or none that can be copied.

    >>> import thinnet
    >>> model = nn.Sequential(thinnet.nn.Dropout(0.5))
    >>> _ = thinnet.DropoutRNG(0).bind(model)
    >>> free_copy("example", model)[0].context is None, model[0].context is None
    (True, False)
    """
    copied = copy.deepcopy(structure(function, checked(function, model)))
    for module in copied.modules():
        _forget_coins(module)
        pinned = vars(module).get("train")
        if isinstance(pinned, Pinned):
            Mode(module).put(ABSENT)
            if not pinned.training and getattr(module, "p", None) is not None:
                module.p = 0.0  # type: ignore[assignment]
    return copied


def _forget_coins(module: nn.Module) -> None:
    """Takes out the hooks by which bound coins count forward passes."""
    for hooks in (module._forward_pre_hooks, module._forward_hooks):
        for key in [key for key, hook in hooks.items() if isinstance(getattr(hook, "__self__", None), CallCounter)]:
            del hooks[key]
            module._forward_hooks_always_called.pop(key, None)


@contextmanager
def norms_still(model: nn.Module) -> Iterator[None]:
    """Keeps the batch normalisations of a copy in eval in the meantime, so that one input is enough to run it in training."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        Mode(norm).put(Pinned(norm, False))
    try:
        yield
    finally:
        for norm in norms:
            Mode(norm).put(ABSENT)
