"""On a GPU: rates of units, blocks and parts of weights are those of a CPU; neighbours compiled, and in a CUDA graph."""

import itertools
from typing import Any

import pytest
import test_fused
import test_units
import torch
from test_fused import CALLS
from torch import Tensor

import thinnet
import thinnet.functional as T
from benchmarks import device
from benchmarks.device import DEVICE, REHEARSE
from thinnet.ops import fused
from thinnet.ops.fused import Activation
from thinnet.ops.take import put, take

DTYPES = (torch.float32, torch.bfloat16) if REHEARSE else (torch.float32, torch.bfloat16, torch.float16)


def moved(where: Any) -> Any:
    return tuple(None if each is None else each.to(DEVICE) for each in where)


def leaf(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.detach().to(DEVICE).requires_grad_()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("mode", [None, "default"], ids=["eager", "compiled"])
def test_functions_are_their_operations_apart(name: str, mode: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_fused, "IDS", test_fused.IDS.to(DEVICE))
    ours, chain = CALLS[name]
    tensors = [leaf(each) for each in test_fused.inputs(name)]

    def run(*tensors: Tensor) -> Tensor:
        return ours(*tensors, p=0.4, training=True)

    found = []
    for call in (device.compiled(run) if mode else run, lambda *x: chain(*x, lambda x: T.dropout(x, 0.4, training=True))):
        torch.manual_seed(3)
        y = call(*tensors)
        gradients = torch.autograd.grad(y.square().sum(), tensors, allow_unused=True)  # pyright: ignore[reportArgumentType]
        found.append([y.detach(), *(each for each in gradients if each is not None)])
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)
    assert torch.equal(ours(*tensors, p=0.4, training=False), chain(*tensors, lambda x: x))


UNITS = [name for name in test_units.CASES if not REHEARSE or name not in ("a large map", "a long row", "squares")]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", UNITS)
def test_rates_of_units_and_blocks_are_the_same_on_both(name: str, dtype: torch.dtype) -> None:
    make, shape = test_units.CASES[name]
    x, found = torch.randn(shape).to(dtype), []
    for place in ("cpu", DEVICE):
        layer = make().to(place)
        if len(shape) > 1:
            thinnet.DropoutRNG(5).bind(layer).at(3, samples=torch.arange(shape[0]) * 7 + 2**31)
        else:
            thinnet.DropoutRNG(5).bind(layer).at(3)
        here = x.to(place).requires_grad_()
        y = layer(here)
        found.append([each.detach().cpu() for each in (y, *torch.autograd.grad(y, here, torch.ones_like(y)))])
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=max(1e-5, 2 * torch.finfo(dtype).eps))
    assert torch.equal(found[1][0] == 0, found[0][0] == 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_parts_of_weights_are_the_same_on_both(dtype: torch.dtype) -> None:
    shapes = ((40, 33), (40, 12, 3, 3), (40,))
    for shape, groups, run in itertools.product(shapes, (1, 4), (1, 3)):
        width = shape[1] // run if len(shape) > 1 else 1
        rows = torch.stack([torch.randperm(40)[:17].sort()[0] for _ in range(groups)])
        columns = torch.stack([torch.randperm(width)[: max(1, width // 2)].sort()[0] for _ in range(groups)])
        places = [(rows, None)] if len(shape) == 1 else [(rows, None), (None, columns), (rows, columns)]
        for chosen in places:
            found = []
            for place in ("cpu", DEVICE):
                x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(place, dtype).requires_grad_()
                y = take(x, *(None if each is None else each.to(place) for each in chosen), run)
                gradient = torch.autograd.grad(y, x, torch.ones_like(y))[0]
                found.append([y.detach().cpu(), gradient.cpu()])
            torch.testing.assert_close(found[1], found[0])
    part = torch.randn(2, 3, 4)
    index = torch.tensor([[0, 2, 5], [1, 2, 3]]), torch.tensor([[0, 1, 2, 6], [3, 4, 5, 6]])
    there = put(part.to(DEVICE), *(each.to(DEVICE) for each in index), (6, 7))
    torch.testing.assert_close(there.cpu(), put(part, *index, (6, 7)))


def test_opcheck() -> None:
    x, residual = (torch.randn(3, 200, device=DEVICE, requires_grad=True) for _ in range(2))
    bias, at = torch.randn(200, device=DEVICE, requires_grad=True), moved(test_fused.where())
    torch.library.opcheck(torch.ops.thinnet.fused_norm.default, (x, residual, bias, None, 1e-5, False, *at))
    rows = torch.tensor([[0, 2]], device=DEVICE)
    torch.library.opcheck(torch.ops.thinnet.take.default, (torch.randn(3, 4, 1, device=DEVICE, requires_grad=True), rows, None))


def test_a_captured_graph_follows_the_step() -> None:
    layer = thinnet.nn.Dropout(0.3).to(DEVICE)
    rng = thinnet.DropoutRNG(3).bind(layer).at(0, torch.arange(4))
    x, residual = torch.randn(4, 64, device=DEVICE, requires_grad=True), torch.randn(4, 64, device=DEVICE)

    def work() -> tuple[Tensor, ...]:
        key = layer.key(x)
        assert key is not None
        y = fused.fused(x, (key.rate, *key.address), residual=residual, activation=Activation.GELU)
        return y, *torch.autograd.grad(y.sum(), x)

    replay, results = device.captured(work)
    for step in (1, 5):
        rng.at(step, torch.arange(4) + step)
        replay()
        torch.testing.assert_close([each.detach().clone() for each in results], [each.detach() for each in work()])
