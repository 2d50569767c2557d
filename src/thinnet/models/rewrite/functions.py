"""Replaces functions of PyTorch while a forward method runs: one `TorchFunctionMode` with a table of rules.

The mode is a `with` block around the forward method, so it ends when that fails, and each thread and nested module has its own.
"""

import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, ClassVar

from torch import nn
from torch.overrides import TorchFunctionMode

from thinnet.models.rewrite.methods import Replacement

Rule = Callable[["Intercepted", Callable[..., Any], Any, Any], Any]
Rules = Mapping[Callable[..., Any], Rule]


class Intercepted(TorchFunctionMode):
    """While it is on, each function of the table runs by its rule, and every other function runs as usual.

    Args:
        rules: by function, a rule. It is called with this mode, the function, its positional and its keyword arguments.
        state: what the rules need to know.

    >>> import torch
    >>> with Intercepted({torch.add: lambda mode, function, args, kwargs: args[0]}):
    ...     torch.add(torch.ones(2), 1), torch.mul(torch.ones(2), 2)
    (tensor([1., 1.]), tensor([2., 2.]))
    """

    def __init__(self, rules: Rules, state: Any = None) -> None:
        super().__init__()
        self.rules, self.state = rules, state

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs a function, by its rule if it has one. The mode is off in the meantime."""
        if func in self.rules:
            return self.rules[func](self, func, args, kwargs or {})
        return func(*args, **kwargs or {})


class InterceptedForward(Replacement):
    """Replaces `forward`: the same method, with functions of PyTorch replaced."""

    rules: ClassVar[Rules]

    def state(self) -> Any:
        """Returns the state of the rules in one forward pass."""
        return None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the forward method."""
        with Intercepted(self.rules, self.state()):
            return self.method(*args, **kwargs)


def running_module() -> tuple[FrameType | None, Any]:
    """Returns the frame of the innermost call of a module, and the module. Both are None outside of modules."""
    frame = sys._getframe(1)
    called, intercepted = nn.Module._call_impl.__code__, InterceptedForward.__call__.__code__
    while frame is not None and frame.f_code not in (called, intercepted):
        frame = frame.f_back
    if frame is None:
        return None, None
    caller = frame.f_locals["self"]
    return frame, caller.module if frame.f_code is intercepted else caller
