"""The order of the modules of a model, by execution or by definition, and which of them make the output."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from thinnet.models.rewrite.modules import BEFORE, BEHIND
from thinnet.models.state import preserve_state
from thinnet.models.trace import trace

Ended = list[tuple[str, nn.Module]]


@dataclass(frozen=True)
class Order:
    """The modules in the order in which they end, each as often as it ran.

    Args:
        ended: paths and modules; a module ends after its children.
        ran: whether an example was run; else it is the order of definition.
    """

    ended: Ended
    ran: bool

    def leaves(self) -> Ended:
        """Returns the modules without children, not counting inserted ones."""
        return [(name, module) for name, module in self.ended if not module._modules.keys() - {BEHIND, BEFORE}]

    def output(self) -> set[str]:
        """Returns the paths of the modules that make the output: the last leaf with parameters, and all that end after it."""
        last = [name for name, module in self.leaves() if next(module.parameters(recurse=False), None) is not None][-1:]
        own = [index for index, (name, _) in enumerate(self.ended) if name in last]
        return {name for name, _ in self.ended[own[-1] :]} if own else set()

    @property
    def note(self) -> str:
        """Which order it is, in words."""
        if self.ran:
            return "places follow the order of execution"
        return "places follow the order of definition; give an example= to follow the order of execution"


def call_with(model: nn.Module, example: Any) -> Any:
    """Calls a model with an example: a tensor, a tuple of arguments, or a mapping of named ones."""
    if isinstance(example, Mapping):
        return model(**example)
    return model(*example) if isinstance(example, (tuple, list)) else model(example)


def order_of(model: nn.Module, example: Any = None) -> Order:
    """Returns the order of a model's modules; an example is run in eval, and the model is as it was afterwards."""
    if example is None:
        return Order(list(_defined(model, "", set())), ran=False)
    with preserve_state(model), torch.no_grad():
        model.eval()
        record = trace(model, lambda: call_with(model, example))
    names = {module: name for name, module in model.named_modules()}
    return Order([(call.name, call.module) for call in record.ended if call.module in names], ran=True)


def _defined(module: nn.Module, name: str, seen: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    if module in seen:
        return
    seen.add(module)
    for key, child in module.named_children():
        yield from _defined(child, f"{name}.{key}".lstrip("."), seen)
    yield name, module
