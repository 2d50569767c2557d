"""Copies of a model: one that shares its parameters, and one that may be changed."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from thinnet.models.edit.checks import check_model
from thinnet.models.rewrite.edits import ABSENT
from thinnet.models.rewrite.methods import Mode, Pinned
from thinnet.rng import Site
from thinnet.rng.binding import hooks_of, remove_hooks
from thinnet.rng.calls import CallCounter


def sharing_copy(function: str, model: nn.Module) -> nn.Module:
    """Returns a deep copy of a model that shares its parameters. It has its own buffers and generators, and is not bound.

    Args:
        function: the name in the error.
        model: any module; it is unchanged.

    Raises: TypeError if `copy.deepcopy` fails.

    >>> model = nn.Linear(2, 2)
    >>> second = sharing_copy("example", model)
    >>> second is model, second.weight is model.weight
    (False, True)
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        held = [*module._parameters.values(), *(value for value in vars(module).values() if isinstance(value, Tensor))]
        memo |= {id(tensor): tensor for tensor in held if tensor is not None}
        memo |= {id(tensor): tensor.detach().clone() for tensor in module._buffers.values() if tensor is not None}
        memo |= {id(value): value.clone_state() for value in vars(module).values() if isinstance(value, torch.Generator)}
        if isinstance(module, Site) and module.context is not None:
            memo[id(module.context.calls)] = CallCounter()  # the copied hooks count with it
            memo[id(module.context)] = None
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        step = "Give the module that holds what cannot be copied a __deepcopy__"
        raise TypeError(f"{function}: model must be one that copy.deepcopy copies; {error}. {step}.") from error


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
    copied = copy.deepcopy(sharing_copy(function, check_model(function, model)))
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
