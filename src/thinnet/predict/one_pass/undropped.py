"""A model whose forward methods call dropout as a function, without that dropout: such a call returns its input."""

from inspect import Signature, signature
from types import CodeType
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from thinnet.model.editing.calls import ATTENTION, SITES, call_of


class Passed(TorchFunctionMode):
    """While it is on, dropout functions return their input, and attention keeps all of its weights.

    >>> import torch
    >>> with Passed():
    ...     torch.nn.functional.dropout(torch.ones(2), 0.5)
    tensor([1., 1.])
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the function without its dropout."""
        if func not in SITES:
            return func(*args, **kwargs or {})
        call = call_of(func, args, kwargs or {})
        return ATTENTION(**call.given | {"dropout_p": 0.0}) if func is ATTENTION else call.given["input"]


class Undropped:
    """Takes the place of a model's `forward`: the same, with no call to a dropout function. It is copied with its model.

    Args:
        model: whose forward method it is.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.before = model, vars(model).get("forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the forward method."""
        with Passed():
            return self._method(*args, **kwargs)

    @property
    def _method(self) -> Any:
        return self.before or type(self.model).forward.__get__(self.model)

    @property
    def __signature__(self) -> Signature:
        """That of the method, for those who ask which arguments a model takes."""
        return signature(self._method)

    @property
    def __code__(self) -> CodeType:
        """That of the method, for `torch.export`, which says by it where a constraint comes from."""
        return self._method.__code__
