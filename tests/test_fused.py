"""Fused dropout: the masks of `Dropout`, the numbers and gradients of the separate operations."""

import itertools
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import thinnet
import thinnet.functional as T
from thinnet.methods.fused import FUSED
from thinnet.ops import apply_noise, fused, schema
from thinnet.ops.fused import Activation, reference

needs_kernels = pytest.mark.skipif(schema.missing is not None, reason="the C++ kernels are not built")
DTYPES = torch.float32, torch.bfloat16, torch.float16
FORWARD = [activation for activation in Activation if activation != Activation.RELU_RESULT]
B, D = 3, 200  # neither a whole segment of random bits nor a whole vector
IDS = torch.tensor([[1, 0, 3], [2, 2, 0]])


def where(samples: Any = None, p: float = 0.3) -> Any:
    rate = torch.tensor(round(p * 65536), dtype=torch.int32)
    return rate, torch.tensor(5), torch.tensor(3), torch.tensor(9), samples


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape))).to(dtype).requires_grad_()


def close(got: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    got, expected = got.detach(), expected.detach()
    room = 8 * torch.finfo(dtype).eps * max(1.0, float(expected.abs().max()))
    return got.shape == expected.shape and bool((got.double() - expected.double()).abs().max() <= room)


@needs_kernels
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("samples", [None, torch.tensor([7]), torch.tensor([9, 4, 2**31])], ids=["none", "first", "each"])
@pytest.mark.parametrize("shape", [(B, D), (B, 2, 130), (B,)], ids=str)
def test_chains_have_the_numbers_and_gradients_of_separate_operations(dtype: Any, samples: Any, shape: Any) -> None:
    at, gradient = where(samples), numbers(*shape, dtype=dtype, seed=9).detach()
    for activation, *given in itertools.product(FORWARD, *[(False, True)] * 3):
        tensors = [numbers(*shape, dtype=dtype)]
        made = (numbers(*(shape[-1:] if i == 0 else shape), dtype=dtype, seed=i + 1) for i in range(3))
        tensors += [tensor if wanted else None for tensor, wanted in zip(made, given, strict=True)]
        names, held = ("bias", "gate", "residual"), [each for each in tensors if each is not None]
        got = fused.fused(tensors[0], at, activation=activation, **dict(zip(names, tensors[1:], strict=True)))
        wide = [None if each is None else each.detach().double().requires_grad_() for each in tensors]
        expected = reference.chain(wide[0], None, *wide[1:], activation, at)
        assert close(got, expected, dtype)
        assert close(got, reference.fused(tensors[0], None, *tensors[1:], activation, *at), dtype)
        found = torch.autograd.grad(got, held, gradient)
        exact = torch.autograd.grad(expected, [each for each in wide if each is not None], gradient.double())
        assert all(close(one, other, dtype) for one, other in zip(found, exact, strict=True)), (activation, given)


@needs_kernels
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("samples", [None, torch.tensor([9, 4, 1])], ids=["none", "each"])
@pytest.mark.parametrize("shape", [(B, D), (B, 5, 33), (B, 256)], ids=str)
@pytest.mark.parametrize("rms", [False, True])
def test_norms_have_the_numbers_and_gradients_of_separate_operations(dtype: Any, samples: Any, shape: Any, rms: bool) -> None:
    at, gradients = where(samples), [numbers(*shape, dtype=dtype, seed=seed).detach() for seed in (8, 9)]
    x, residual = numbers(*shape, dtype=dtype), numbers(*shape, dtype=dtype, seed=1)
    weight, bias = numbers(shape[-1], dtype=dtype, seed=2), None if rms else numbers(shape[-1], dtype=dtype, seed=3)
    for tensors in ([x, residual, weight, bias], [x, residual, None, None]):
        held = [each for each in tensors if each is not None]
        got = fused.fused_norm(x, residual, at, weight=tensors[2], bias=tensors[3], eps=1e-5, rms=rms)
        wide = [None if each is None else each.detach().double().requires_grad_() for each in tensors]
        expected = reference.norm_chain(*wide, 1e-5, rms, at)
        assert all(close(one, other, dtype) for one, other in zip(got, expected, strict=True))
        assert torch.equal(got[1], reference.fused_norm(*tensors, 1e-5, rms, *at)[1])
        found = torch.autograd.grad(got, held, gradients)
        exact = torch.autograd.grad(
            expected, [each for each in wide if each is not None], [each.double() for each in gradients]
        )
        assert all(close(one / 8, other / 8, dtype) for one, other in zip(found, exact, strict=True))


CALLS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "dropout_add": (
        lambda x, y, w, **o: T.dropout_add(x, y, **o),
        lambda x, y, w, drop: y + drop(x),
    ),
    "bias_dropout_add": (
        lambda x, y, w, **o: T.bias_dropout_add(x, w, y, **o),
        lambda x, y, w, drop: y + drop(x + w),
    ),
    "relu_dropout": (
        lambda x, y, w, **o: T.relu_dropout(x, **o),
        lambda x, y, w, drop: drop(F.relu(x)),
    ),
    "gelu_dropout": (
        lambda x, y, w, **o: T.gelu_dropout(x, **o),
        lambda x, y, w, drop: drop(F.gelu(x)),
    ),
    "swiglu_dropout": (
        lambda x, y, w, **o: T.swiglu_dropout(x, y, **o),
        lambda x, y, w, drop: drop(F.silu(x) * y),
    ),
    "embedding_add_dropout": (
        lambda x, y, w, **o: T.embedding_add_dropout(IDS, x, y, **o),
        lambda x, y, w, drop: drop(F.embedding(IDS, x) + y),
    ),
    "dropout_add_layer_norm": (
        lambda x, y, w, **o: T.dropout_add_layer_norm(x, y, w, **o),
        lambda x, y, w, drop: F.layer_norm(y + drop(x), w.shape, w),
    ),
    "dropout_add_rms_norm": (
        lambda x, y, w, **o: T.dropout_add_rms_norm(x, y, w, **o),
        lambda x, y, w, drop: F.rms_norm(y + drop(x), w.shape, w),
    ),
}


def inputs(name: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    shapes = [(4, D), (3, D), (D,)] if name == "embedding_add_dropout" else [(B, D), (B, D), (D,)]
    return [numbers(*shape, dtype=dtype, seed=i) for i, shape in enumerate(shapes)]


@needs_kernels
@pytest.mark.parametrize("activation", Activation)
def test_the_reference_defines_the_gradients_of_chains(activation: Activation) -> None:
    x, bias, gate, gradient = (numbers(B, D, seed=seed).detach() for seed in range(4))
    x = torch.where(x > 0, x, 0) if activation == Activation.RELU_RESULT else x
    for given in ((None, None),) if activation == Activation.RELU_RESULT else ((None, None), (bias[0], None), (None, gate)):
        arguments = gradient, x, *given, int(activation), *where()
        found, expected = torch.ops.thinnet.fused_backward(*arguments), reference.fused_backward(*arguments)
        wanted = 1 if given[1] is None else 2  # without a gate, its gradient is empty
        pairs = zip(found[:wanted], expected[:wanted], strict=True)
        assert all(close(one, other, torch.float32) for one, other in pairs), given


@needs_kernels
@pytest.mark.parametrize("rms", [False, True])
def test_the_reference_defines_the_gradients_of_norms(rms: bool) -> None:
    gradient, of_h, h, weight = (numbers(B, D, seed=seed).detach() for seed in range(4))
    for given in ((None, h, None), (of_h, h, weight[0])):
        arguments = gradient, *given, 1e-5, rms, *where()
        found, expected = torch.ops.thinnet.fused_norm_backward(*arguments), reference.fused_norm_backward(*arguments)
        found = found[:3] if rms else found  # which has no bias
        assert all(close(one / 8, other / 8, torch.float32) for one, other in zip(found, expected, strict=False))


@pytest.mark.parametrize(("function", "norm"), [(T.dropout_add_layer_norm, F.layer_norm), (T.dropout_add_rms_norm, F.rms_norm)])
def test_norms_return_the_sum_too_where_asked(function: Callable[..., Any], norm: Callable[..., Tensor]) -> None:
    x, residual, weight = inputs("dropout_add_layer_norm")
    torch.manual_seed(3)
    y, h = function(x, residual, weight, p=0.4, prenorm=True, training=True)
    torch.manual_seed(3)
    total = residual + T.dropout(x, 0.4, training=True)
    assert torch.equal(h, total) and close(y, norm(total, weight.shape, weight), torch.float32)


def test_every_function_is_tested() -> None:
    assert CALLS.keys() == {function.__name__ for function in FUSED}


@pytest.mark.parametrize("kernels", [True, False], ids=["kernel", "composed"])
@pytest.mark.parametrize("name", CALLS)
def test_functions_have_the_masks_of_dropout_and_no_dropout_in_eval(name: str, kernels: bool) -> None:
    ours, chain = CALLS[name]
    tensors = inputs(name)
    with mock.patch("thinnet.ops.fused.call.served", (lambda *_: False) if not kernels else fused.call.served):
        torch.manual_seed(3)
        got = ours(*tensors, p=0.4, training=True)
        torch.manual_seed(3)
        assert close(got, chain(*tensors, lambda x: T.dropout(x, 0.4, training=True)), torch.float32)
        assert torch.equal(ours(*tensors, p=0.4, training=False), chain(*tensors, lambda x: x))


@pytest.mark.parametrize("name", CALLS)
def test_functions_take_transposed_inputs(name: str) -> None:
    ours, chain = CALLS[name]
    tensors = [each.T.contiguous().T if each.ndim == 2 else each for each in inputs(name)]
    torch.manual_seed(3)
    got = ours(*tensors, p=0.4, training=True)
    torch.manual_seed(3)
    assert close(got, chain(*tensors, lambda x: T.dropout(x, 0.4, training=True)), torch.float32)


@needs_kernels
@pytest.mark.parametrize("name", CALLS)
def test_second_derivatives_are_those_of_separate_operations(name: str) -> None:
    ours, chain = CALLS[name]
    found = []
    for call in (lambda *x: ours(*x, p=0.4, training=True), lambda *x: chain(*x, lambda y: T.dropout(y, 0.4, training=True))):
        tensors = inputs(name)
        torch.manual_seed(3)
        first = torch.autograd.grad(call(*tensors).square().sum(), tensors, create_graph=True, allow_unused=True)
        total = sum(each.square().sum() for each in first if each is not None)
        found.append(torch.autograd.grad(total, tensors, allow_unused=True))
    for one, other in zip(*found, strict=True):
        assert (one is None) == (other is None)
        assert one is None or close(one / 16, other / 16, torch.float32)


@pytest.mark.parametrize("name", CALLS)
def test_compiled_code_has_the_same_mask_and_gradient(name: str) -> None:
    ours, at = CALLS[name][0], inputs(name)

    def run(*tensors: Tensor) -> Tensor:
        return ours(*tensors, p=0.4, training=True)

    used = [x for x, wanted in zip(at, needed(name), strict=True) if wanted]
    torch.manual_seed(3)
    expected = run(*at)
    gradients = torch.autograd.grad(expected.square().sum(), used)
    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    torch.manual_seed(3)
    got = compiled(*at)
    assert close(got, expected, torch.float32)
    for one, other in zip(torch.autograd.grad(got.square().sum(), used), gradients, strict=True):
        assert close(one / 16, other / 16, torch.float32)


def needed(name: str) -> list[bool]:
    tensors = inputs(name)
    out = CALLS[name][0](*tensors, p=0.4, training=True)
    return [each is not None for each in torch.autograd.grad(out.sum(), tensors, allow_unused=True)]


@needs_kernels
@pytest.mark.parametrize("activation", FORWARD)
def test_the_operation_passes_the_checks_of_pytorch(activation: Activation) -> None:
    x, gate, residual, bias = numbers(B, D), numbers(B, D, seed=1), numbers(B, D, seed=2), numbers(D, seed=3)
    for more in ((None, None, None), (bias, gate, residual)):
        torch.library.opcheck(torch.ops.thinnet.fused.default, (x, None, *more, int(activation), *where()))


@needs_kernels
@pytest.mark.parametrize("rms", [False, True])
def test_the_operation_of_norms_passes_the_checks_of_pytorch(rms: bool) -> None:
    x, residual, weight = numbers(B, D), numbers(B, D, seed=1), numbers(D, seed=2)
    torch.library.opcheck(torch.ops.thinnet.fused_norm.default, (x, residual, weight, None, 1e-5, rms, *where()))


@needs_kernels
def test_dropped_numbers_are_selected_to_zero_where_the_input_is_not_finite() -> None:
    at, bad = where(p=0.5), torch.tensor([float("inf"), float("nan"), -float("inf"), 1.0]).repeat(64)
    mask = apply_noise(torch.ones(256), at[0], at[1], step=at[2], site=at[3]) != 0
    for activation in FORWARD:
        y = fused.fused(bad, at, gate=torch.ones(256), residual=torch.ones(256), activation=activation)
        assert bool((y[~mask] == 1).all())
    assert bool(fused.fused(bad, at, activation=Activation.RELU)[mask][bad[mask].isnan()].isnan().all())


@needs_kernels
@pytest.mark.parametrize(("activation", "kept"), [(Activation.NONE, 0), (Activation.RELU, 1), (Activation.GELU, 1)])
def test_no_mask_is_kept_for_backward(activation: Activation, kept: int) -> None:
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        x = numbers(B, D)
        y = fused.fused(x, where(), activation=activation)
    assert len(saved) == kept
    assert all(each.data_ptr() in (x.data_ptr(), y.data_ptr()) for each in saved)
    assert activation != Activation.RELU or saved[0].data_ptr() == y.data_ptr()  # which the next layer keeps too


def test_an_addressed_site_and_the_fused_operation_drop_the_same() -> None:
    layer = thinnet.nn.Dropout(0.3)
    thinnet.DropoutRNG(0).bind(torch.nn.ModuleDict({"drop": layer})).at(4, samples=torch.tensor([5, 1, 8]))
    x, residual = numbers(B, D), numbers(B, D, seed=1)
    key = layer.key(x)
    assert key is not None
    assert torch.equal(fused.fused(x, (key.rate, *key.address), residual=residual), residual + key.apply_noise(x))


def test_bad_input_is_refused() -> None:
    x = torch.ones(3)
    with pytest.raises(ValueError, match="gelu_dropout: approximate must be"):
        T.gelu_dropout(x, approximate="erf", training=True)
    with pytest.raises(ValueError, match="relu_dropout"):
        T.relu_dropout(x, 2.0, training=True)
    with pytest.raises(TypeError, match="dropout_add: x must be"):
        T.dropout_add(torch.ones(3, dtype=torch.int64), x, training=True)
    with pytest.raises(TypeError, match="dropout_add: x must be a tensor"):
        T.dropout_add([1.0], x, training=True)
