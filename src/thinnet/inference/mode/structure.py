"""A second model around the same parameters: what is done to it leaves the first one as it is, and costs no memory."""

import copy
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def generators_kept(model: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Puts back the states of the global generators of PyTorch, Python and NumPy; in between they are seeded, if asked."""
    devices = sorted({str(tensor.device) for tensor in model.parameters() if tensor.device.type == "cuda"})
    numpy = sys.modules.get("numpy")
    states = random.getstate(), None if numpy is None else numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            if seed is not None:
                seed_all(seed)
            yield
    finally:
        random.setstate(states[0])
        if numpy is not None:
            numpy.random.set_state(states[1])


def seed_all(seed: int) -> None:
    """Seeds the global generators of PyTorch, Python and NumPy."""
    torch.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % (1 << 32))
