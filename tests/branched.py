"""What tests of thinned branches share: how many rows a module sees, and all that a pass and its backward pass give."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def rows_seen(module: nn.Module) -> list[int]:
    """The numbers of rows that a module gets, filled as it runs."""
    seen: list[int] = []
    module.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    return seen


def results(model: nn.Module, x: Tensor, *rest: Any) -> list[Tensor]:
    """The output and all gradients."""
    x = x.detach().clone().requires_grad_()
    model.zero_grad()
    y = model(x, *rest)
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)).sum().backward()
    return [y.detach(), x.grad, *(parameter.grad for parameter in model.parameters())]  # type: ignore[list-item]


def assert_alike(some: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    assert all(one is not None for one in (*some, *others))
    rtol, atol = (1e-10, 1e-12) if some[0].dtype == torch.float64 else (1e-4, 2e-5)
    for one, other in zip(some, others, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)
