"""One pass over a tensor gives the bits of the composition: rates of units, and blocks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import thinnet
from thinnet import ops
from thinnet.ops import schema, units

pytestmark = pytest.mark.skipif(schema.missing is not None, reason="there are no compiled kernels")
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def importance(units: int, dim: int = -1) -> nn.Module:
    layer = thinnet.nn.ImportanceDropout(units, 0.5, dim=dim, momentum=0)
    layer.importance.copy_(torch.linspace(0, 3, units))
    return layer


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "features": (lambda: importance(1030), (5, 7, 1030)),
    "few features": (lambda: importance(3), (130, 3)),
    "channels": (lambda: importance(6, 1), (5, 6, 9, 11)),
    "one axis": (lambda: importance(70), (70,)),
    "rates of samples": (lambda: thinnet.nn.Jumpout(0.3), (9, 300)),
    "rates of samples of maps": (lambda: thinnet.nn.Jumpout(0.3), (3, 5, 6, 7)),
    "rates given": (lambda: thinnet.nn.Dropout(torch.linspace(0, 1, 65)), (8, 65)),
    "a long row": (lambda: thinnet.nn.Jumpout(0.3), (2, 9001)),
    "lines": (lambda: thinnet.nn.DropBlock1d(0.2, 5), (4, 5, 90)),
    "squares": (lambda: thinnet.nn.DropBlock2d(0.2, 7), (4, 70, 16, 16)),
    "oblongs": (lambda: thinnet.nn.DropBlock2d(0.2, (3, 9)), (4, 7, 20, 11)),
    "shared squares": (lambda: thinnet.nn.DropBlock2d(0.2, 3, shared=True), (4, 5, 9, 13)),
    "a large map": (lambda: thinnet.nn.DropBlock2d(0.1, 7), (2, 2, 150, 150)),
    "spans of tokens": (lambda: thinnet.nn.HiddenCut(0.4), (3, 9, 70)),
    "heads": (lambda: thinnet.nn.DropHead(0.4), (3, 5, 9, 7)),
    "squares of pictures": (lambda: thinnet.nn.Cutout(4), (3, 4, 9, 11)),
    "groups of samples": (lambda: thinnet.nn.BatchwiseDropout(0.4), (6, 130)),
    "spans of a spectrogram": (lambda: thinnet.nn.SpecAugment(time_width=5, frequency_width=5), (3, 20, 33)),
    "normal noise of features": (lambda: thinnet.nn.VariationalDropout(130), (5, 7, 130)),
    "normal noise of a layer": (lambda: thinnet.nn.VariationalDropout(65, per="layer"), (9, 65)),
    "normal noise that is added": (lambda: thinnet.nn.GaussianNoise(0.3), (5, 7, 130)),
    "boxes": (lambda: thinnet.nn.DropBlock3d(0.2, 3), (2, 3, 6, 8, 7)),
}
NORMAL = ("normal noise of features", "normal noise of a layer", "normal noise that is added")
PASSES = {"normal noise that is added": 3}  # its gradient is that of the result
OPERATIONS = ("select_units", "scale_units", "gaussian_units", "gaussian_units_backward", "add_gaussian", "drop_blocks")


def outcome(layer: nn.Module, x: Tensor) -> list[Tensor]:
    torch.manual_seed(1)
    leaf = x.clone().requires_grad_()
    y = layer(leaf)
    weights = torch.linspace(-1, 1, y.numel()).reshape(y.shape).to(y)
    return [y.detach(), *torch.autograd.grad(y, [leaf, *layer.parameters()], weights)]


def assert_the_same(fast: list[Tensor], composed: list[Tensor]) -> None:
    """Bit by bit; the gradients of parameters are sums, which other operations round otherwise."""
    for one, other in zip(fast[:2], composed[:2], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    for one, other in zip(fast[2:], composed[2:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("addressed", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_has_the_bits_of_the_composition(name: str, addressed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    make, shape = CASES[name]
    if addressed and len(shape) == 1:
        pytest.skip("an axis of samples alone is composed")
    model = nn.Sequential(make())
    if addressed:
        thinnet.DropoutRNG(5).bind(model).at(3, samples=torch.arange(shape[0]) * 7)
    ran = []
    for op in OPERATIONS:
        call = getattr(units, op)
        monkeypatch.setattr(units, op, lambda *args, call=call, **named: (ran.append(1), call(*args, **named))[1])
    for dtype in DTYPES:
        x = torch.randn(shape).to(dtype)
        x.flatten()[0] = torch.inf
        fast = outcome(model, x)
        with monkeypatch.context() as patch:
            patch.setattr(units, "served", lambda *_: False)
            composed = outcome(model, x)
        assert_the_same(fast, composed)
    assert len(ran) >= PASSES.get(name, 6)  # float32, bfloat16 and float16, forward and backward


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"one axis"}))
def test_a_batch_of_no_samples_gives_one(name: str) -> None:
    make, (_, *rest) = CASES[name]
    y, of_x, *of_parameters = outcome(make(), torch.empty(0, *rest))
    assert y.shape == of_x.shape == (0, *rest)
    assert not any(each.any() for each in of_parameters)


def test_threads_change_no_bit() -> None:
    layer, x, before = thinnet.nn.DropBlock2d(0.1, 5), torch.randn(16, 40, 20, 20), torch.get_num_threads()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append([*outcome(layer, x), *outcome(importance(20), x), *outcome(thinnet.nn.VariationalDropout(20), x)])
        found[-1].append(units.sum_units(x, (1, 1, 1, 20), squares=True))
    torch.set_num_threads(before)
    assert all(one.equal(other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("dtype", units.DTYPES, ids=str)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (7, 1, 1, 1), (1, 5, 1, 1), (1, 1, 1, 70), (7, 1, 9, 70), (7, 5, 9, 70)], ids=str
)
def test_sums_of_units_are_exact(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(7, 5, 9, 70).relu().to(dtype)  # zeros are not positive
    x[..., ::3] = -1
    x.flatten()[3] = torch.nan
    assert torch.equal(units.sum_units(x, shape), (x > 0).double().sum_to_size(shape))
    x.flatten()[3] = 0
    squares = x.float().square().double().sum_to_size(shape)  # a float32 square rounds once
    torch.testing.assert_close(units.sum_units(x, shape, squares=True), squares, rtol=1e-14, atol=0)
    assert units.sum_units(x[:0], (1, 5, 1, 1), squares=True).tolist() == [[[[0.0]]] * 5]


@pytest.mark.parametrize("name", ["features", "rates of samples", "squares", "heads", *NORMAL])
def test_gradients_of_several_results_at_once_are_those_of_each(name: str) -> None:
    make, shape = CASES[name]
    layer, x = make(), torch.randn(shape, requires_grad=True)
    y, wanted = layer(x), [x, *layer.parameters()]
    weights = torch.randn(2, *shape)
    batched = torch.autograd.grad(y, wanted, weights, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(y, wanted, weight, retain_graph=True) for weight in weights]
    for one, *others in zip(batched, *each, strict=True):
        torch.testing.assert_close(one, torch.stack(others), rtol=1e-5, atol=1e-4)


def test_what_watches_operations_sees_the_composition() -> None:
    model = nn.Sequential(thinnet.nn.DropBlock2d(0.2, 3), thinnet.nn.Jumpout(0.2))
    assert {site.op for site in thinnet.sites(model, torch.rand(8, 16, 12, 12))} == {"thinnet::apply_noise"}


def test_what_no_kernel_takes_is_refused_by_it() -> None:
    x, rate = torch.ones(4, 6, 5).transpose(1, 2), torch.tensor(0.5)
    address = (torch.tensor(0), None, None, None)
    assert not units.served(x, address) and ops.backends()["cpu"] != "reference"
    with pytest.raises(RuntimeError, match="x must be contiguous"):
        units.select_units(x, rate, rate, address)
    with pytest.raises(RuntimeError, match="x must be contiguous"):
        units.drop_blocks(x[:1], rate, 3, (2,), False, address)
    with pytest.raises(RuntimeError, match="a block must fit"):
        units.drop_blocks(torch.ones(1, 1, 4), torch.ones(4), 3, (5,), False, address)


@pytest.mark.parametrize("name", ["heads", "spans of tokens", "normal noise of features", "normal noise of a layer"])
def test_second_derivatives_are_those_of_the_composition(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, shape = CASES[name]
    layer, x = make(), torch.randn(shape, requires_grad=True)
    wanted, found = [x, *layer.parameters()], []
    for served in (units.served, lambda *_: False):
        monkeypatch.setattr(units, "served", served)
        torch.manual_seed(1)
        first = torch.autograd.grad(layer(x).square().sum(), wanted, create_graph=True)
        found.append([*first, *torch.autograd.grad(sum(each.square().sum() for each in first), wanted)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
