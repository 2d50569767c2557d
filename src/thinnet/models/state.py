"""A context after which a model, and everything that draws random numbers, is as it was before."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def preserve_state(model: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Puts back parameters, buffers, gradients, modes and attributes of every module, and the states of all generators.

    Tensors are put back in place, so that whoever holds one sees its old values. Lists, dicts and sets that a module holds
    are put back one level deep.

    Args:
        model: what may be run, and change, in the meantime.
        seed: seeds the generators of PyTorch, Python and NumPy in the meantime.
    """
    modules = [(module, _noted(module)) for module in model.modules()]
    tensors = [(tensor, tensor.detach().clone(), tensor.grad) for tensor in _tensors(model)]
    generators = [(value, value.get_state()) for module in model.modules() for value in _generators(module)]
    numpy = sys.modules.get("numpy")
    states = random.getstate(), None if numpy is None else numpy.random.get_state()
    devices = sorted({tensor.device for tensor, *_ in tensors if tensor.device.type == "cuda"}, key=str)
    try:
        with torch.random.fork_rng(devices=devices):
            if seed is not None:
                torch.manual_seed(seed)
                random.seed(seed)
                if numpy is not None:
                    numpy.random.seed(seed)
            yield
    finally:
        random.setstate(states[0])
        if numpy is not None:
            numpy.random.set_state(states[1])
        for generator, state in generators:
            generator.set_state(state)
        for module, attributes in modules:
            _put_back(module, attributes)
        with torch.no_grad():
            for tensor, values, gradient in tensors:
                tensor.grad = gradient
                if tensor.shape != values.shape:
                    tensor.data = values
                elif not torch.equal(tensor, values):
                    tensor.copy_(values)


def _tensors(model: nn.Module) -> list[Tensor]:
    found = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers()) if not tensor.is_meta}
    return list(found.values())


def _generators(module: nn.Module) -> list[torch.Generator]:
    return [value for value in vars(module).values() if isinstance(value, torch.Generator)]


def _noted(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Returns each attribute, and a copy of what it holds."""
    return {name: (value, _copied(value)) for name, value in vars(module).items()}


def _copied(value: Any) -> Any:
    return type(value)(value) if type(value) in (list, dict, set) else value


def _put_back(module: nn.Module, attributes: dict[str, tuple[Any, Any]]) -> None:
    now = vars(module)
    for name in now.keys() - attributes.keys():
        del now[name]
    for name, (held, value) in attributes.items():
        now[name] = held
        if type(held) in (list, dict, set):
            held.clear()
            held.extend(value) if isinstance(held, list) else held.update(value)
