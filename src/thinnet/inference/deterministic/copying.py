"""A copy of a model that may be changed: it is neither bound nor pinned."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from thinnet.inference.mode.structure import structure
from thinnet.models.edit.checks import check_model
from thinnet.models.rewrite.edits import ABSENT
from thinnet.models.rewrite.methods import Mode, Pinned
from thinnet.rng.dropout_rng import hooks_of, remove_hooks


def free_copy(function: str, model: nn.Module) -> nn.Module:
    """Returns a deep copy of a model that is not bound. Dropout that is pinned off has rate 0 in the copy.

    Args:
        function: the name in the error.
        model: any module; it is unchanged.

    Raises: TypeError if `model` is not a module or cannot be copied.

    >>> import thinnet
    >>> model = nn.Sequential(thinnet.nn.Dropout(0.5))
    >>> _ = thinnet.DropoutRNG(0).bind(model)
    >>> free_copy("example", model)[0].context is None, model[0].context is None
    (True, False)
    """
    copied = copy.deepcopy(structure(function, check_model(function, model)))
    for module, counter in [*hooks_of(copied)]:
        remove_hooks(module, counter)
    for module in copied.modules():
        pinned = vars(module).get("train")
        if isinstance(pinned, Pinned):
            Mode(module).put(ABSENT)
            if not pinned.training and getattr(module, "p", None) is not None:
                module.p = 0.0  # type: ignore[assignment]
    return copied


@contextmanager
def norms_pinned(model: nn.Module) -> Iterator[None]:
    """Pins the batch normalisations of a copy to eval, so that it runs in training mode with a batch of one."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        Mode(norm).put(Pinned(norm, False))
    try:
        yield
    finally:
        for norm in norms:
            Mode(norm).put(ABSENT)
