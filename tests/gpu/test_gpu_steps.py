"""On a GPU: dropout with its neighbours gives what the definitions of the operations give on a CPU, with the same masks."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import test_fused
import test_units
import torch
from test_fused import CALLS, FORWARD, close, inputs, where
from torch import Tensor, nn

import thinnet
import thinnet.functional as T
from benchmarks.device import DEVICE, REHEARSE
from thinnet.ops import fused, kept, take, units
from thinnet.ops.fused import Activation, reference

DTYPES = (torch.bfloat16,) if REHEARSE else (torch.float32, torch.bfloat16, torch.float16)
SHAPES = ((3, 200),) if REHEARSE else ((3, 200), (4, 128, 768), (8, 33, 1000), (2, 64, 4096))
MODULES = ("fused", "kept", "take", "units")
EACH = torch.tensor([9, 4, 2**31, 7, 1, 0, 3, 5])

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@pytest.fixture(autouse=True)
def kernels_ran(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sees that kernels ran, and no composition took their place."""
    ran: list[Any] = []
    for name in MODULES:
        module = import_module(f"thinnet.ops.triton.{name}")
        call = module.launch
        monkeypatch.setattr(module, "launch", lambda *arguments, call=call: (ran.append(arguments[1]), call(*arguments))[1])
    yield
    assert ran


def there(*tensors: Any) -> list[Any]:
    """The same on the GPU."""
    return [
        each.detach().to(DEVICE).requires_grad_(each.requires_grad) if isinstance(each, Tensor) else each for each in tensors
    ]


def numbers(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@each_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_chains_and_their_gradients(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, gate, residual, gradient = (numbers(shape, dtype, seed) for seed in range(4))
    bias = numbers(shape[-1:], dtype, 4)
    for samples in (None, EACH[: shape[0]]):
        at, here = where(samples), where(None if samples is None else samples.to(DEVICE))
        for activation in FORWARD:
            few = activation in (Activation.NONE, Activation.RELU)
            given = [bias, None, residual] if few else [bias, gate, residual]
            leaves = there(x, *given)
            leaves = [None if each is None else each.requires_grad_() for each in leaves]
            expected = reference.fused(x, None, *given, int(activation), *at)
            options = dict(zip(("bias", "gate", "residual"), leaves[1:], strict=True))
            y = fused.fused(leaves[0], tuple(there(*here)), activation=activation, **options)
            assert close(y.cpu(), expected, dtype)
            found = torch.autograd.grad(y, [leaves[0], leaves[3]], gradient.to(DEVICE))
            of_x, _ = reference.fused_backward(gradient, x, bias, given[1], int(activation), *at)
            assert close(found[0].cpu(), of_x, dtype) and torch.equal(found[1].cpu(), gradient)


@each_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rms", [False, True])
def test_norms_and_their_gradients(rms: bool, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, residual, gradient, more = (numbers(shape, dtype, seed) for seed in range(4))
    weight, bias = numbers(shape[-1:], dtype, 4), None if rms else numbers(shape[-1:], dtype, 5)
    for samples in (None, EACH[: shape[0]]):
        at = where(samples)
        expected, h = reference.fused_norm(x, residual, weight, bias, 1e-5, rms, *at)
        leaves = [None if each is None else each.requires_grad_() for each in there(x, residual, weight, bias)]
        got = fused.fused_norm(leaves[0], leaves[1], tuple(there(*at)), weight=leaves[2], bias=leaves[3], eps=1e-5, rms=rms)
        assert torch.equal(got[1].cpu(), h) and close(got[0].cpu(), expected, dtype)
        wanted = reference.fused_norm_backward(gradient, more, h, weight, 1e-5, rms, *at)
        held = [each for each in leaves if each is not None]
        found = torch.autograd.grad(got, held, there(gradient, more))
        rows = max(1, x.numel() // shape[-1] // 64)  # that a sum adds up
        for one, other, size in zip(found, wanted, (8, 8, 8 * rows, 8 * rows), strict=False):
            assert close(one.cpu() / size, other / size, dtype)


@pytest.mark.parametrize("name", CALLS)
def test_functions_have_the_masks_of_dropout(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_fused, "IDS", test_fused.IDS.to(DEVICE))
    ours, chain = CALLS[name]
    tensors = [each.to(DEVICE) for each in inputs(name)]
    torch.manual_seed(3)
    got = ours(*tensors, p=0.4, training=True)
    torch.manual_seed(3)
    assert close(got.cpu(), chain(*tensors, lambda x: T.dropout(x, 0.4, training=True)).cpu(), torch.float32)


@pytest.mark.parametrize("name", test_units.CASES)
def test_rates_of_units_and_blocks_have_the_bits_of_the_composition(name: str) -> None:
    """Both on the GPU: logarithms, exponentials and sums are rounded differently on a CPU."""
    make, shape = test_units.CASES[name]
    for dtype in DTYPES:
        x, model = torch.randn(shape).to(dtype).to(DEVICE), nn.Sequential(make()).to(DEVICE)
        if len(shape) > 1:
            thinnet.DropoutRNG(5).bind(model).at(3, samples=torch.arange(shape[0]) * 7)
        fast = test_units.outcome(model, x)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(units, "served", lambda *_: False)
            composed = test_units.outcome(model, x)
        test_units.assert_the_same(fast, composed)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("shape", [(40, 30, 1), (16, 12, 9)] if REHEARSE else [(1000, 777, 1), (64, 96, 9)], ids=str)
def test_parts_are_taken_and_put(shape: tuple[int, int, int], groups: int) -> None:
    for dtype in (*DTYPES, torch.float64):
        x = torch.randn(shape).to(dtype)
        rows, columns = (torch.stack([torch.randperm(n)[: n // 2] for _ in range(groups)]) for n in shape[:2])
        for some, few in ((rows, columns), (rows, None), (None, columns)):
            places = there(some, few)
            part = torch.ops.thinnet.take(x.to(DEVICE), *places)
            assert torch.equal(part.cpu(), take._take(x, some, few))
            whole = torch.ops.thinnet.put(part, *places, *shape[:2]).cpu()
            rounding = 0 if groups == 1 else 4 * torch.finfo(dtype).eps  # groups are added in float32, and rounded once
            torch.testing.assert_close(whole, take._put(part.cpu(), some, few, *shape[:2]), rtol=rounding, atol=rounding)


@pytest.mark.parametrize(("units_of", "width", "whole"), [(100, 48, 47)] if REHEARSE else [(4096, 2048, 2047), (37, 32, 30)])
def test_kept_units_are_those_of_a_stable_sort(units_of: int, width: int, whole: int) -> None:
    for values in (2**23, 4):
        numbers = (torch.randint(0, values, (5, units_of + 1)) * 2 + 1) * (2.0**-24 if values == 2**23 else 0.5 / values)
        found = kept.smallest(numbers.to(DEVICE), width, whole, 0.5)
        assert all(map(torch.equal, (each.cpu() for each in found), kept.in_order(numbers, width, whole, 0.5)))


@pytest.mark.parametrize("activation", [Activation.GELU, Activation.RELU])
def test_opcheck(activation: Activation) -> None:
    x = torch.randn(3, 40, device=DEVICE, requires_grad=True)
    more = (x[0].detach(), x.detach(), x.detach()) if activation == Activation.GELU else (None, None, None)
    torch.library.opcheck(torch.ops.thinnet.fused.default, (x, None, *more, int(activation), *there(*where())))
