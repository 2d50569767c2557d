"""A copy of a model that shares its parameters."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.rng import Site
from thinnet.rng.calls import CallCounter


def structure(function: str, model: nn.Module) -> nn.Module:
    """Returns a deep copy of a model that shares its parameters. It has its own buffers and generators, and is not bound.

    Args:
        function: the name in the error.
        model: any module; it is unchanged.

    Raises: TypeError if `copy.deepcopy` fails.

    >>> model = nn.Linear(2, 2)
    >>> second = structure("example", model)
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
