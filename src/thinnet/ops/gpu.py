"""Registers Triton's kernels as those of CUDA tensors. Their modules are imported by the first call."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch._C import _len_torch_dispatch_stack, _len_torch_function_stack
from torch._C._autograd import _profiler_enabled

missing = None if find_spec("triton") else "Triton is not installed; run pip install 'thinnet[gpu]'"
registered: dict[str, Callable[..., Any]] = {}  # operation -> its Triton path, which tests run in Triton's interpreter


@cache
def _kernel(module: str, name: str) -> Callable[..., Any]:
    return getattr(import_module(f"thinnet.ops.triton.{module}"), name)


def register(library: torch.library.Library, module: str, *names: str) -> None:
    """Registers the functions of a module of ops/triton, which have the names of their operations."""
    for name in names:
        registered[name] = lambda *arguments, name=name: _kernel(module, name)(*arguments)
        if missing is None:
            library.impl(name, registered[name], "CUDA")


def alone(x: Tensor) -> bool:
    """Returns whether a kernel may take a plain `x` of a GPU without PyTorch's dispatcher, which takes longer than the launch.

    It must not where a profiler or a mode watches operations, and where the memory is not that of the numbers.
    """
    watched = _len_torch_dispatch_stack() or _len_torch_function_stack() or _profiler_enabled()
    return not (watched or missing or type(x) is not Tensor or x.is_neg() or x._is_zerotensor())
