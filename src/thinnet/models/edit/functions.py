"""Which modules call dropout as a function, and the sites that serve them."""

from typing import Any

import torch
from torch import nn

from thinnet.models.edit.calls import CALLS, Call, Serving, Watched
from thinnet.models.edit.change import Change, Write
from thinnet.models.edit.naming import device_near, shown
from thinnet.models.edit.order import call_with
from thinnet.models.edit.slots import Entry
from thinnet.models.state import preserve_state
from thinnet.rng import Site

PASSES = 8  # a layer that is skipped at random shows itself in one of them


def served_calls(model: nn.Module, example: Any, seed: int = 0) -> tuple[list[Change], list[str]]:
    """Returns the changes that serve the dropout functions which a model calls in training, and notes of what is left alone."""
    changes, notes = [], []
    for path, module, calls in _found(model, example, seed):
        if isinstance(module, nn.Sequential):
            notes.append(f"{path} calls {calls[0].name} and is left alone: a child of a Sequential is one of its layers")
        elif CALLS not in module._modules and any(call.p > 0 for call in calls):
            changes += _changes(model, path, module, calls)
    return changes, notes


def _changes(model: nn.Module, path: str, module: nn.Module, calls: list[Call]) -> list[Change]:
    sites: dict[str, Site] = {str(number): call.site() for number, call in enumerate(calls) if call.p > 0}
    held = nn.ModuleDict(sites)  # type: ignore[arg-type]
    device = device_near(model, path)
    held = held if device is None else held.to(device)
    held.train(module.training)
    writes = [Write(Entry(module, "_modules", CALLS), held), Write(Entry(module, "__dict__", "forward"), Serving(module))]
    changes = []
    for number, site in sites.items():
        text = f"{shown(site)} serves {calls[int(number)].name}"
        changes.append(Change("+", f"{path}.{CALLS}.{number}".lstrip("."), text, writes))
        writes = []
    return changes


def _found(model: nn.Module, example: Any, seed: int) -> list[tuple[str, nn.Module, list[Call]]]:
    """Returns the modules that call dropout functions, each with the calls of its fullest forward pass."""
    names = {module: name for name, module in model.named_modules()}
    fullest: dict[nn.Module, list[Call]] = {}
    with preserve_state(model, seed), torch.no_grad():
        model.train()
        for _ in range(PASSES):
            with Watched() as watch:
                call_with(model, example)
            for module, calls in watch.calls.values():
                if module in names and len(calls) > len(fullest.get(module, ())):
                    fullest[module] = calls
    return [(names[module], module, calls) for module, calls in sorted(fullest.items(), key=lambda item: names[item[0]])]
