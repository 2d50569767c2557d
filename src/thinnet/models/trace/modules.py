"""Level "modules": which modules run, in which order and inside of which, by forward hooks."""

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules import module as everywhere
from torch.utils._pytree import tree_flatten, tree_unflatten

from thinnet.models.trace.record import Call


class Observer(Protocol):
    """Sees each module before and after its call; `leave` may return another output."""

    def enter(self, call: Call, args: Any) -> None: ...
    def leave(self, call: Call, out: Any) -> Any: ...


@dataclass(frozen=True)
class Values:
    """A callback that meets values of a pass; nothing is stored.

    Args:
        at: pairs of a module's path and "in", its first argument, "out", the first tensor that it returns, or "call", the
            first argument of each function in `functions` that it calls.
        meet: takes path, side, the number of the use in this pass of the model, and the tensor. A tensor that it returns
            takes the place of the value, as with PyTorch's hooks.
        functions: the functions whose argument is met.
    """

    at: Collection[tuple[str, str]]
    meet: Callable[[str, str, int, Tensor], Tensor | None]
    functions: Collection[Callable[..., Any]] = ()


class Modules:
    """The modules of a pass: those that run now, and the calls of all that ran.

    Hooks are global: hooks on modules keep PyTorch's encoder layers off their fused path, and a module made in a forward pass
    has none. Global hooks also see the modules that other threads run, so `own=True` puts hooks on the modules of the model.

    Args:
        model: what runs.
        own: whether only the model's own modules are observed.
        values: values to meet; only the modules at which they are met have hooks then, unless functions are met too.
    """

    def __init__(self, model: nn.Module, own: bool = False, values: Values | None = None) -> None:
        self.model, self.own, self.values = model, own or values is not None, values
        self.names = {module: name for name, module in model.named_modules()}
        self.running: list[Call] = []
        self.calls: list[Call] = []
        self.ended: list[Call] = []
        self.graph: Observer | None = None
        self.top: FrameType | None = None  # the frame that calls the model
        self._uses: Counter[tuple[str, str]] = Counter()

    @property
    def place(self) -> str:
        """The path of the innermost module that runs."""
        return self.running[-1].name if self.running else ""

    def enter(self, module: nn.Module, args: Any) -> None:
        """The forward pre-hook."""
        name = self.names.get(module)
        if name is None:
            name = f"{self.place}.<{type(module).__name__}>".lstrip(".")
        elif module is self.model:
            self._uses.clear()
            self.top = self.top or sys._getframe(1)
        call = Call(module, name)
        self.calls.append(call)
        if self.graph is not None:
            self.graph.enter(call, args)
        self.running.append(call)

    def leave(self, module: nn.Module, args: Any, out: Any) -> Any:
        """The forward hook."""
        call = self.running.pop()
        self.top = self.top if self.running else None
        self.ended.append(call)
        return None if self.graph is None else self.graph.leave(call, out)

    def met(self, side: str, x: Tensor) -> Tensor:
        """Returns a value of the module that runs, or what the callback puts in its place."""
        values, name = self.values, self.place
        if values is None or (name, side) not in values.at:
            return x
        number = self._uses[name, side]
        self._uses[name, side] += 1
        found = values.meet(name, side, number, x)
        return x if found is None else found

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Registers the hooks in the context."""
        handles = list(self._own_hooks() if self.own else self._global_hooks())
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _global_hooks(self) -> Iterator[Any]:
        yield everywhere.register_module_forward_pre_hook(self.enter)
        yield everywhere.register_module_forward_hook(self.leave, always_call=True)

    def _own_hooks(self) -> Iterator[Any]:
        at = set(self.values.at) if self.values is not None else set()
        every = self.values is None or any(side == "call" for _, side in at)
        for module, name in self.names.items():
            if isinstance(module, torch.jit.ScriptModule):  # takes no hooks
                continue
            if every or module is self.model or {(name, "in"), (name, "out")} & at:
                yield module.register_forward_pre_hook(self.enter, prepend=True)
                if (name, "in") in at:
                    yield module.register_forward_pre_hook(self._meet_input)
                if (name, "out") in at:
                    yield module.register_forward_hook(self._meet_output)
                yield module.register_forward_hook(self.leave, always_call=True)

    def _meet_input(self, module: nn.Module, args: Any) -> Any:
        if not args or not isinstance(args[0], Tensor):
            return None
        met = self.met("in", args[0])
        return None if met is args[0] else (met, *args[1:])

    def _meet_output(self, module: nn.Module, args: Any, out: Any) -> Any:
        leaves, spec = tree_flatten(out)
        first = next((index for index, leaf in enumerate(leaves) if isinstance(leaf, Tensor)), None)
        if first is None:
            return None
        met = self.met("out", leaves[first])
        if met is leaves[first]:
            return None
        return tree_unflatten([*leaves[:first], met, *leaves[first + 1 :]], spec)
