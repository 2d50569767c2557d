"""Kernels for DropKey and DropAttention on weights: the masks, numbers and gradients of separate operations."""

from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

import thinnet
from thinnet.ops import schema
from thinnet.ops.fused import rows

pytestmark = pytest.mark.skipif(schema.missing is not None, reason="the C++ kernels are not built")
SHAPES = [(2, 3, 5, 7), (2, 3, 4, 100), (2, 1, 4, 256), (3, 20, 3)]  # rows that end within a segment of random bits or a vector


def given(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(shape, generator=generator)
    x = x.tril(1).masked_fill(x.triu(2) != 0, -torch.inf) if name == "DropKey" else x.softmax(-1)
    return x.to(dtype).requires_grad_()


def results(layer: Any, x: Tensor, twice: bool) -> list[Tensor]:
    """The output, the gradient, and the gradient of its square."""
    torch.manual_seed(5)
    y = layer(x)
    weights = torch.linspace(-1, 1, y.numel()).reshape(y.shape).to(y.dtype)
    (first,) = torch.autograd.grad(y, x, weights, create_graph=twice)
    if not twice or not first.requires_grad:  # that of logits does not depend on them
        return [y, first]
    return [y, first, *torch.autograd.grad(first.square().sum(), x)]


@pytest.mark.parametrize("name", ["DropKey", "DropAttention"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("addressed", [False, True], ids=["drawn", "addressed"])
@pytest.mark.parametrize("p", [0.3, 0.97])
def test_rows_are_those_of_separate_operations(name: str, dtype: Any, shape: Any, addressed: bool, p: float) -> None:
    layer, x = getattr(thinnet.nn, name)(p), given(name, shape, dtype)
    if addressed:
        thinnet.DropoutRNG(0).bind(torch.nn.ModuleDict({"drop": layer})).at(3, samples=torch.tensor([7, 2, 9])[: shape[0]])
    for twice in (False, True) if dtype == torch.float32 else (False,):
        got = results(layer, x, twice)
        with mock.patch.object(rows, "served", lambda *_: False):
            expected = results(layer, x, twice)
        for one, other in zip(got, expected, strict=True):
            room = 128 * torch.finfo(dtype).eps * max(1.0, float(other.detach().nan_to_num(neginf=0.0).abs().max()))
            torch.testing.assert_close(one, other, rtol=0.0, atol=0.0 if name == "DropKey" else room)
