"""Which modules decide about dropout that is no module of its own.

A parent may read a rate off a child or a configuration and apply it as a function: `F.dropout(x, self.drop.p, self.training)`.
Its own mode turns that dropout off, not the mode of the child. No mode turns `F.dropout(x, 0.5)` off.
"""

from dataclasses import dataclass
from functools import reduce
from types import FunctionType
from typing import Any, ClassVar

import torch
from torch import nn

from thinnet.models.edit.equivalents import FUNCTIONS, call_of
from thinnet.models.edit.rates import Owner, is_dropout
from thinnet.models.edit.source import Chain, read_class, read_method
from thinnet.models.found import DROPS
from thinnet.models.rewrite.edits import Change
from thinnet.models.rewrite.functions import Intercepted, InterceptedForward, Rules, running_module
from thinnet.models.rewrite.modules import describe
from thinnet.models.trace.record import ADDRESSED, Draw

WORDS = ("drop", "bernoulli", "zoneout")
DRAWS = frozenset(("rand", "rand_like", "random", "uniform_"))


@dataclass(frozen=True)
class Decision:
    """A module that decides about dropout.

    Args:
        path: of the module.
        module: the module.
        by_mode: whether its own mode turns the dropout on and off.
        always: whether it calls a dropout function that no mode turns off.
        reads: the dropout modules whose rate it reads.
        configured: the names of rates that it reads from another object: `("config", "hidden_dropout")`.
        own: whether all others are numbers that it holds.
    """

    path: str
    module: nn.Module
    by_mode: bool
    always: bool
    reads: frozenset[nn.Module]
    configured: frozenset[Chain]
    own: bool

    @property
    def elsewhere(self) -> bool:
        """Whether some rate is neither a number of its own nor that of a dropout module."""
        return bool(self.configured) or not (self.reads or self.own)


def decisions(model: nn.Module) -> list[Decision]:
    """Returns the modules of a model that decide about dropout."""
    found = []
    for path, module in model.named_modules():
        forward = vars(module).get("forward")
        reading = read_class(type(module))
        reading |= read_method(forward) if isinstance(forward, FunctionType) else reading
        meant = {chain: read for chain in reading.beside for means, read in [_meant(module, chain)] if means}
        if meant or reading.always:
            reads = frozenset(read for read in meant.values() if read is not None)
            others = [chain for chain, read in meant.items() if chain[0] and read is None]
            longer = frozenset(chain for chain in others if len(chain) > 1)
            held = [getattr(module, chain[0], None) for chain in others if len(chain) == 1]
            own = bool(held) and all(isinstance(value, (int, float)) for value in held)
            found.append(Decision(path, module, bool(meant), reading.always, reads, longer, own))
    return found


def configured(model: nn.Module) -> list[Owner]:
    """Returns the rates that modules read from objects in their forward pass, under the name that the first module gives."""
    read = {chain for each in decisions(model) for chain in each.configured}
    found: dict[tuple[int, str], Owner] = {}
    for path, module in model.named_modules():
        for chain in sorted(read):
            holder = reduce(lambda value, name: getattr(value, name, None), chain[:-1], module)
            p = getattr(holder, chain[-1], None)
            if not isinstance(holder, nn.Module) and isinstance(p, float) and 0 <= p <= 1:
                name = ".".join((path, *chain)).lstrip(".")
                found.setdefault((id(holder), chain[-1]), Owner(name, name, module, chain[-1], p, holder))
    return list(found.values())


def is_dropout_draw(draw: Draw) -> bool:
    """Returns whether a draw of a pass is used as dropout is; `rrelu` is an activation."""
    return draw.op in ADDRESSED or (bool(draw.use) and draw.kind in DROPS and "rrelu" not in draw.op)


def _meant(module: nn.Module, chain: Chain) -> tuple[bool, nn.Module | None]:
    """Returns whether names mean dropout that the module itself applies, and the dropout module whose rate they read."""
    value: Any = module
    for number, name in enumerate(chain if chain[0] else ()):
        value = getattr(value, name, None)
        if isinstance(value, nn.Module) and is_dropout(value) and number + 1 < len(chain):
            return True, value
    calls_a_module = isinstance(value, nn.Module) and value is not module  # which decides by its own mode
    return not calls_a_module and any(map(_names_dropout, chain)), None


def _names_dropout(name: str) -> bool:
    return name in DRAWS or any(word in name.lower() for word in WORDS)


def _mute(mode: Intercepted, function: Any, args: Any, kwargs: Any) -> Any:
    if torch.compiler.is_compiling() or running_module()[1] is mode.state:
        return call_of(function, args, kwargs).without()
    return function(*args, **kwargs)


class Muted(InterceptedForward):
    """Replaces `forward`: the same method, with its dropout functions off; in compiled code also those of its children."""

    rules: ClassVar[Rules] = dict.fromkeys(FUNCTIONS, _mute)

    def state(self) -> nn.Module:
        """Returns the module."""
        return self.module


def mute_change(each: Decision) -> Change:
    """Returns the change that turns off the dropout functions which no mode turns off."""
    return Change("~", each.path, f"dropout functions of {describe(each.module)} stay off", [Muted(each.module).write()])
