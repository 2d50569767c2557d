"""What test_triton.py runs with TRITON_INTERPRET=1: dropout and its neighbours against the definitions of the operations."""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from assertions import assert_same_bits
from test_fused import CALLS, FORWARD, close, inputs, numbers, where
from torch import Tensor

import thinnet.functional as T
from thinnet.ops import fused, gpu, schema
from thinnet.ops.fused import Activation, reference
from thinnet.ops.triton import fused as door

DTYPES = torch.float32, torch.bfloat16, torch.float16
EACH = torch.tensor([9, 4, 2**31])
CASES = {  # shape, ids of samples: whole segments or not, one row, an address of each row
    "plain": ((3, 256), None),
    "rows inside a segment": ((3, 2, 65), EACH),
    "counted from the first": ((3, 128), torch.tensor([7])),
    "one axis": ((3,), EACH),
}


@pytest.fixture
def interpreted() -> Iterator[None]:
    """Lets Triton's interpreter serve the operations on a CPU."""
    stand_in = torch.library.Library("thinnet", "IMPL")
    for name in ("fused", "fused_backward", "fused_norm", "fused_norm_backward"):
        stand_in.impl(name, gpu.registered[name], "CPU", allow_override=True)
    yield
    stand_in._destroy()


def given(shape: tuple[int, ...], dtype: torch.dtype) -> list[list[Tensor | None]]:
    """Bias, gate and residual: none of them, each, and all."""
    bias, gate, residual = (numbers(*size, dtype=dtype, seed=i).detach() for i, size in enumerate((shape[-1:], shape, shape)))
    return [[None] * 3, [bias, None, residual], [None, gate, None], [bias, gate, residual]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_chains_and_their_gradients_are_those_of_the_definition(name: str, dtype: torch.dtype) -> None:
    shape, samples = CASES[name]
    at, x, gradient = where(samples), numbers(*shape, dtype=dtype).detach(), numbers(*shape, dtype=dtype, seed=9).detach()
    for activation, (bias, gate, residual) in zip(FORWARD, itertools.cycle(given(shape, dtype)[DTYPES.index(dtype) :])):
        arguments = x, None, bias, gate, residual, int(activation), *at
        ours, theirs = door.fused(*arguments), reference.fused(*arguments)
        assert close(ours, theirs, dtype)
        assert activation != Activation.NONE or torch.equal(ours, theirs)
        arguments = gradient, x, bias, gate, int(activation), *at
        for mine, right in zip(door.fused_backward(*arguments), reference.fused_backward(*arguments), strict=True):
            assert mine.shape == right.shape and close(mine, right, dtype) if right.numel() else not mine.numel()
    result = reference.fused(x, None, None, None, None, int(Activation.RELU), *at)
    arguments = gradient, result, None, None, int(Activation.RELU_RESULT), *at
    assert_same_bits(door.fused_backward(*arguments)[0], reference.fused_backward(*arguments)[0])


@pytest.mark.parametrize("samples", [None, torch.tensor([3, 2**32 - 1])], ids=["none", "each"])
def test_rows_of_a_table_and_a_bias_as_large_as_a_sample(samples: Tensor | None) -> None:
    table, positions, ids = numbers(7, 40).detach(), numbers(5, 40, seed=1).detach(), torch.randint(0, 7, (2, 5))
    for bias in (positions, torch.stack([positions, 2 * positions]), None):
        arguments = table, ids, bias, None, None, 0, *where(samples)
        assert torch.equal(door.fused(*arguments), reference.fused(*arguments))
    ids[1, 2], ids[0, 0] = 7, -1
    y = door.fused(table, ids, None, None, None, 0, *where(samples, 0.0))
    assert bool(y[1, 2].isnan().all() & y[0, 0].isnan().all()) and y.isnan().sum() == 80


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rms", [False, True])
def test_norms_and_their_gradients_are_those_of_the_definition(rms: bool, dtype: torch.dtype) -> None:
    for number, (shape, samples) in enumerate((((2, 256), None), ((3, 1, 50), EACH), ((1, 2, 128), torch.tensor([7])))):
        x, residual, gradient, more = (numbers(*shape, dtype=dtype, seed=seed).detach() for seed in range(4))
        weight, bias = (numbers(shape[-1], dtype=dtype, seed=seed).detach() for seed in (4, 5))
        bare = (number + DTYPES.index(dtype)) % 3 == 0
        scale, shift, of_h = (None, None, None) if bare else (weight, None if rms else bias, more)
        arguments = x, residual, scale, shift, 1e-5, rms, *where(samples)
        (y, h), (expected, right) = door.fused_norm(*arguments), reference.fused_norm(*arguments)
        assert_same_bits(h, right)
        assert close(y, expected, dtype)
        arguments = gradient, of_h, right, scale, 1e-5, rms, *where(samples)
        found, wanted = door.fused_norm_backward(*arguments), reference.fused_norm_backward(*arguments)
        assert all(close(mine / 8, theirs / 8, dtype) for mine, theirs in zip(found, wanted, strict=True))


def test_programs_share_the_rows_of_a_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PROGRAMS", 2)
    x, gradient = numbers(5, 128).detach(), numbers(5, 128, seed=1).detach()
    arguments = gradient, None, x, None, 1e-5, False, *where()
    found, wanted = door.fused_norm_backward(*arguments), reference.fused_norm_backward(*arguments)
    assert all(close(mine / 8, theirs / 8, torch.float32) for mine, theirs in zip(found, wanted, strict=True))


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_nothing_and_everything_dropped(rate: float) -> None:
    x, residual = torch.full((3, 128), torch.inf), numbers(3, 128).detach()
    kept = door.fused(x, None, None, None, residual, 0, *where(None, rate))
    assert torch.equal(kept, residual if rate else x)
    assert torch.equal(door.fused_norm(x, residual, None, None, 1e-5, True, *where(None, rate))[1], residual if rate else x)


def test_empty_tensors() -> None:
    x, at = torch.empty(0, 3), where()
    assert door.fused(x, None, None, None, x, 0, *at).shape == x.shape
    assert door.fused_backward(x, x, None, x, 2, *at)[1].shape == x.shape
    assert door.fused_norm(x, x, None, None, 1e-5, True, *at)[1].shape == x.shape
    assert door.fused_norm_backward(x, x, x, None, 1e-5, True, *at)[2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", CALLS)
def test_functions_run_and_are_differentiated(name: str, interpreted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []

    def noted(tensors: Any, layout: Any, plan: Any) -> None:
        ran.append(layout[0])
        door_launch(tensors, layout, plan)

    door_launch = door.launch
    monkeypatch.setattr(door, "launch", noted)
    ours, chain = CALLS[name]
    tensors, found = inputs(name), []
    drop = partial(T.dropout, p=0.4, training=True)
    for call in (partial(ours, p=0.4, training=True), partial(chain, drop=drop)):
        torch.manual_seed(3)
        y = call(*tensors)
        found.append([y, *torch.autograd.grad(y.square().sum(), tensors, allow_unused=True)])
    for mine, right in zip(*found, strict=True):
        assert (mine is None) == (right is None)
        assert mine is None or close(mine / 16, right / 16, torch.float32)
    assert {"norm" in name} == {"norm" in each for each in ran}


def test_the_operations_pass_the_checks_of_pytorch(interpreted: None) -> None:
    x, gate, residual, bias = numbers(3, 40), numbers(3, 40, seed=1), numbers(3, 40, seed=2), numbers(40, seed=3)
    for activation, more in ((Activation.GELU, (bias, gate, residual)), (Activation.RELU, (None, None, None))):
        torch.library.opcheck(torch.ops.thinnet.fused.default, (x, None, *more, int(activation), *where()))
    torch.library.opcheck(torch.ops.thinnet.fused_norm.default, (x, residual, bias, None, 1e-5, True, *where()))


def test_without_triton_the_chain_serves_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it serves what has more numbers in a row than a program holds, and what is compiled."""
    assert schema.has_kernels("cuda")
    monkeypatch.setattr(gpu, "missing", "Triton is not installed")
    assert not schema.has_kernels("cuda") and schema.has_kernels("cpu")
    with torch.device("meta"):
        x = torch.empty(3, 4)
    assert not fused.call.served((x,), where())
