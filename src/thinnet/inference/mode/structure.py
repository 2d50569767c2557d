"""A second model around the same parameters: what is done to it leaves the first one as it is, and costs no memory."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.rng import Site
from thinnet.rng.calls import CallCounter


def structure(function: str, model: nn.Module) -> nn.Module:
    """Returns a deep copy of a model that holds the same parameters; buffers and generators are its own, and no coin is bound.

    Args:
        function: the name that an error gives.
        model: any module; it is left as it is.

    Raises:
        TypeError: `copy.deepcopy` does not copy the model.

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
            memo[id(module.context.calls)] = (
                CallCounter()
            )  # for the hooks of a bound model, which count now what nobody asks for
            memo[id(module.context)] = None
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        step = "Give the module that holds what cannot be copied a __deepcopy__"
        raise TypeError(f"{function}: model must be one that copy.deepcopy copies; {error}. {step}.") from error
