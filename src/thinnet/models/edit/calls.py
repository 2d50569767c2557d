"""Serves dropout that a forward method calls as a function by sites with a path, a rate and a mode.

Call number k of a module to a dropout function goes to its child site "dropout_calls.k". Calls of a child module belong to the
child, which Python frames tell. Compiled code has no frames: there, a child that calls a function must be part of the example.
"""

from types import FunctionType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from thinnet.methods.elementwise.batchwise_dropout import BatchwiseDropout
from thinnet.models.edit.equivalents import FUNCTIONS, Call, call_of
from thinnet.models.edit.order import call_with
from thinnet.models.rewrite.edits import Change, Entry, Write
from thinnet.models.rewrite.functions import Intercepted, InterceptedForward, Rules, running_module
from thinnet.models.rewrite.methods import Pinned, is_pinned
from thinnet.models.rewrite.modules import describe, device_near
from thinnet.models.state import preserve_state
from thinnet.models.trace import trace
from thinnet.models.trace.functions import Functions
from thinnet.rng import Site

CALLS = "dropout_calls"
PASSES = 8  # one of them reaches a layer that is skipped at random


def _without_dispatch(function: Any) -> Any:
    """Returns a Python function of PyTorch that no longer hands itself to a mode, so that the mode sees what it calls."""
    body = FunctionType(function.__code__, {**F.__dict__, "has_torch_function": lambda _: False}, function.__name__)
    body.__defaults__, body.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    return body


ATTENTION_BODY = _without_dispatch(F.multi_head_attention_forward)


class _Pass:
    """The calls of one forward pass of one module."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.number = module, -1


def _serve(mode: Intercepted, function: Any, args: Any, kwargs: Any) -> Any:
    """Serves a dropout function by the site of its number, or runs it."""
    now: _Pass = mode.state
    if torch.compiler.is_compiling() or running_module()[1] is now.module:
        now.number += 1
        sites: Any = now.module._modules[CALLS]
        site = sites._modules.get(str(now.number))
        if site is not None:
            call = call_of(function, args, kwargs)
            _check(site, call, now)
            return call.through(site)
    return function(*args, **kwargs)


def _look_inside(mode: Intercepted, function: Any, args: Any, kwargs: Any) -> Any:
    with mode:
        return ATTENTION_BODY(*args, **kwargs)


def _check(site: Site, call: Call, now: _Pass) -> None:
    if not isinstance(site, (call.kind, BatchwiseDropout)):
        rule = f"{type(now.module).__name__}: call {now.number} to a dropout function must be that of the example"
        raise ValueError(f"{rule}, for {type(site).__name__}; got {call.name}. Replace anew, with an example of this path.")


class Serving(InterceptedForward):
    """Replaces `forward`: the same method, with dropout functions served by sites."""

    rules: ClassVar[Rules] = {**dict.fromkeys(FUNCTIONS, _serve), F.multi_head_attention_forward: _look_inside}

    def state(self) -> _Pass:
        """Returns the counter of calls."""
        return _Pass(self.module)


def serving_changes(model: nn.Module, example: Any) -> tuple[list[Change], list[str]]:
    """Returns the changes that serve the dropout functions which a model calls in training, and notes on what is unchanged."""
    changes, notes = [], []
    for path, module, calls in _found(model, example):
        if isinstance(module, nn.Sequential):
            notes.append(f"{path} calls {calls[0].name} and is unchanged: a child of a Sequential would be one of its layers")
        elif CALLS not in module._modules and any(call.p > 0 for call in calls):
            changes += _changes(model, path, module, calls)
    return changes, notes


def _changes(model: nn.Module, path: str, module: nn.Module, calls: list[Call]) -> list[Change]:
    sites: dict[str, Site] = {str(number): call.site() for number, call in enumerate(calls) if call.p > 0}
    held = nn.ModuleDict(sites)  # type: ignore[arg-type]
    device = device_near(model, path)
    held = held if device is None else held.to(device)
    held.train(module.training)
    for site in sites.values() if is_pinned(module) else ():
        Pinned(site, module.training).put()
    writes = [Write(Entry(module, "_modules", CALLS), held), Serving(module).write()]
    changes = []
    for number, site in sites.items():
        text = f"{describe(site)} serves {calls[int(number)].name}"
        changes.append(Change("+", f"{path}.{CALLS}.{number}".lstrip("."), text, writes))
        writes = []
    return changes


def _found(model: nn.Module, example: Any) -> list[tuple[str, nn.Module, list[Call]]]:
    """Returns the modules that call dropout functions, each with the calls of its longest forward pass."""
    names = {module: name for name, module in model.named_modules()}
    longest: dict[nn.Module, list[Call]] = {}
    with preserve_state(model, 0), torch.no_grad():
        model.train()
        for _ in range(PASSES):
            for module, calls in _pass(model, example):
                if module in names and len(calls) > len(longest.get(module, ())):
                    longest[module] = calls
    return [(names[module], module, calls) for module, calls in sorted(longest.items(), key=lambda item: names[item[0]])]


def _pass(model: nn.Module, example: Any) -> list[tuple[nn.Module, list[Call]]]:
    """Returns, for each call of a module in one pass, the dropout functions that it calls."""
    found: dict[Any, list[Call]] = {}
    functions = Functions(
        FUNCTIONS,
        lambda running, function, args, kwargs: found.setdefault(running, []).append(call_of(function, args, kwargs)),
        {F.multi_head_attention_forward: ATTENTION_BODY},
    )
    trace(model, lambda: call_with(model, example), functions=functions)
    return [(running.module, calls) for running, calls in found.items()]
