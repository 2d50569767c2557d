"""Registers Triton's kernels as those of CUDA tensors. Their modules are imported by the first call."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

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
