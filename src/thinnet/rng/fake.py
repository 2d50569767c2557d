"""Fake tensors, which have no numbers. Their mode refuses real tensors, so numbers on a device are made anew while it runs."""

from typing import Any

from torch import Tensor
from torch._C import _get_dispatch_mode, _TorchDispatchModeKey  # type: ignore[attr-defined]
from torch.compiler import is_compiling

KEY = _TorchDispatchModeKey.FAKE


def is_faking() -> bool:
    """Returns whether a FakeTensorMode runs in eager code. The compiler has its own, and replaces the tensors that it meets.

    >>> from torch._subclasses.fake_tensor import FakeTensorMode
    >>> with FakeTensorMode():
    ...     inside = is_faking()
    >>> inside, is_faking()
    (True, False)
    """
    return not is_compiling() and _get_dispatch_mode(KEY) is not None


def faked(x: Tensor) -> Tensor:
    """Returns `x` as a tensor of the FakeTensorMode that runs; `x` itself where none does."""
    mode: Any = None if is_compiling() else _get_dispatch_mode(KEY)
    return x if mode is None else mode.from_tensor(x)
