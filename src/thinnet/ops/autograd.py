"""Derivatives that serve eager training steps alone, and calls of operations below autograd."""

from typing import Any

import torch
from torch.autograd.function import _SingleLevelFunction
from torch.compiler import is_compiling

below_autograd = torch._C._AutoDispatchBelowAutograd


class EagerFunction(_SingleLevelFunction):
    """An autograd function without the transforms of `torch.func`: a call costs a tenth of `torch.autograd.Function`.

    Whoever applies it has checked that no transform is active.
    """

    @staticmethod
    def _compiled_autograd_key(ctx: Any) -> tuple[int]:
        return (ctx._autograd_function_id,)  # as in torch.autograd.Function


def without_autograd(operation: Any, *arguments: Any) -> Any:
    """Calls an operation that autograd does not have to see: the caller differentiates it, or nobody does."""
    if is_compiling():  # compiled autograd traces the backward pass of an eager step, but not the guard below
        return operation(*arguments)
    with below_autograd():
        return operation(*arguments)
