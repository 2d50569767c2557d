"""A model whose forward methods call dropout as a function, without that dropout: such a call returns its input."""

from typing import Any

from torch.overrides import TorchFunctionMode

from thinnet.models.edit.calls import ATTENTION, SITES, call_of
from thinnet.models.edit.forward import Forward


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


class Undropped(Forward):
    """Takes the place of a model's `forward`: the same, with no call to a dropout function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the forward method."""
        with Passed():
            return self.method(*args, **kwargs)
