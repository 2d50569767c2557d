"""The laws that every method obeys. A law never asks for a method's name: differences live in its facts and its row."""

import copy
import io
import itertools
import pickle

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_keeps_nothing, assert_mean, assert_rate, assert_same_bits, assert_variance
from rows import ROWS, Row
from torch import Tensor, nn

import thinnet
from thinnet import rates
from thinnet.ops import reference

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

each_method = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
each_shape = pytest.mark.parametrize(
    ("row", "shape"), [(row, shape) for row in ROWS for shape in row.shapes], ids=lambda v: getattr(v, "name", str(v))
)


def delivered(p: float) -> float:
    return rates.count(p) / rates.RESOLUTION


def named(row: Row, p: float) -> tuple[nn.Module, thinnet.Coins]:
    model = nn.Sequential(row.method.module(p))
    return model, thinnet.Coins(seed=11).bind(model)


def coins_of(row: Row, shape: tuple[int, ...], ids: Tensor, step: int) -> Tensor:
    """The coins of module "0" as the definition wants them: uniform or normal, broadcast over the grain."""
    shared = row.method.facts.shared(len(shape))
    grain = [1 if axis in shared else size for axis, size in enumerate(shape)]
    count = torch.Size(grain[1:]).numel()
    where = torch.tensor(11), torch.tensor(step), torch.tensor(thinnet.coins.site_number("0")), ids
    if row.method.facts.continuous:
        return reference.normal(reference.noise(*where, count)).double().reshape(grain)
    return (reference.coins(*where, count) / rates.RESOLUTION).double().reshape(grain)


@each_shape
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_shape_and_dtype_are_kept(row: Row, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(shape).to(dtype)
    y = row.method.module(0.5)(x)
    assert (y.shape, y.dtype, y.stride()) == (x.shape, x.dtype, x.stride())


@each_shape
def test_eval_and_rate_zero_are_the_identity(row: Row, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    assert row.method.module(0.5).eval()(x) is x
    assert row.method.function(x, 0.5, training=False) is x
    assert_same_bits(row.method.module(0.0)(x), x)
    assert_same_bits(row.method.function(x, 0.0, training=True), x)
    assert_same_bits(row.method.module(1e-9)(x), x)  # rounds to rate 0 but is tossed


@each_method
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_edges_are_finite_forward_and_backward(row: Row, dtype: torch.dtype) -> None:
    for p, shape in itertools.product(row.edges, row.shapes):
        x = torch.randn(shape).to(dtype).requires_grad_()
        y = row.method.module(p)(x)
        (gradient,) = torch.autograd.grad(y, x, torch.ones_like(x))
        assert bool(y.isfinite().all() and gradient.isfinite().all())
        assert_same_bits(gradient, torch.full_like(gradient, 1.0 - p))
        assert_same_bits(y, x.detach() if p == 0 else torch.zeros_like(x))


@pytest.mark.parametrize("row", [r for r in ROWS if r.method.facts.expected_drop(0.5) > 0], ids=lambda row: row.name)
def test_what_is_dropped_does_not_leak(row: Row) -> None:
    x = torch.full((64, *row.shapes[0][1:]), torch.inf)
    probe = torch.ones_like(x, requires_grad=True)
    torch.manual_seed(3)
    y = row.method.module(0.5)(x)
    torch.manual_seed(3)
    (gradient,) = torch.autograd.grad(row.method.module(0.5)(probe).sum(), probe)
    assert bool((y.isfinite() == (gradient == 0)).all()) and bool((gradient == 0).any())


@each_method
def test_a_seed_gives_one_mask_and_a_call_a_new_one(row: Row) -> None:
    x, layer = torch.randn(50, *row.shapes[0][1:]), row.method.module(0.5)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert_same_bits(layer(x), first)
    torch.manual_seed(3)
    assert_same_bits(row.method.function(x, 0.5, training=True), first)
    assert not torch.equal(first, second)
    with torch.random.fork_rng():
        layer(x)
    again = row.method.function(x, 0.5, training=True, generator=torch.Generator().manual_seed(3))
    assert_same_bits(again, first)


@each_method
def test_the_delivered_rate_is_the_declared_one(row: Row) -> None:
    for p, shape in itertools.product(row.rates, row.shapes):
        shared = row.method.facts.shared(len(shape))
        cases = max(1, 400_000 // torch.Size(shape).numel())
        x = torch.randn(cases * shape[0], *shape[1:], requires_grad=True)
        (gradient,) = torch.autograd.grad(row.method.module(p)(x).sum(), x)
        units = gradient.amax(shared) if shared else gradient
        assert_rate(units == 0, row.method.facts.expected_drop(delivered(p)))


@each_method
def test_mean_and_variance_are_the_declared_ones(row: Row) -> None:
    for p, shape in itertools.product(row.rates, row.shapes):
        facts, case = row.method.facts, torch.randn(shape[1:])
        draws = 200_000 // max(1, case.numel()) + 2000
        y = row.method.module(p)(case.expand(draws, *case.shape)).double()
        mean, variance = facts.mean(case.double(), delivered(p)), facts.variance(case.double(), delivered(p))
        assert_mean(y, mean, variance)
        assert_variance(y, mean, variance)


@each_shape
def test_it_is_what_its_paper_says(row: Row, shape: tuple[int, ...]) -> None:
    ids = torch.arange(shape[0]) * 3 + 5
    for p in row.rates:
        model, coins = named(row, p)
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        weight = torch.randn_like(x)
        y = coins.at(7, ids) and model(x)
        expected = row.method.facts.definition(x, coins_of(row, shape, ids, 7), delivered(p))
        torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)
        ours, theirs = (torch.autograd.grad((v * weight).sum(), x)[0] for v in (y, expected))
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@each_method
def test_a_grain_has_one_coin_and_its_neighbour_another(row: Row) -> None:
    shape = row.shapes[-1]
    shared = row.method.facts.shared(len(shape))
    x = torch.ones(200, *shape[1:], requires_grad=True)
    (gradient,) = torch.autograd.grad(row.method.module(0.5)(x).sum(), x)
    units = gradient.amax(shared) if shared else gradient
    assert bool((gradient == (units.reshape(*units.shape, *[1] * len(shared)))).all())
    for axis in range(units.ndim):
        apart = units.narrow(axis, 1, units.shape[axis] - 1) != units.narrow(axis, 0, units.shape[axis] - 1)
        assert float(apart.double().mean()) > 0.4


@each_method
def test_samples_keep_their_coins_in_any_order_and_batch(row: Row) -> None:
    x, ids = torch.randn(12, *row.shapes[0][1:]), torch.randperm(1000)[:12]
    model, coins = named(row, 0.5)
    whole = coins.at(3, ids) and model(x)
    order = torch.randperm(12)
    assert_same_bits(coins.at(3, ids[order]) and model(x[order]), whole[order])
    parts = [coins.at(3, ids[i : i + 1]) and model(x[i : i + 1]) for i in range(12)]
    assert_same_bits(torch.cat(parts), whole)
    assert not torch.equal(coins.at(4, ids) and model(x), whole)


@each_method
def test_gradients_of_gradients(row: Row) -> None:
    model, coins = named(row, 0.5)
    coins.at(3)
    x = torch.randn(3, *row.shapes[0][1:], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(model, x)
    torch.autograd.gradgradcheck(model, x)


@each_method
def test_nothing_of_the_size_of_the_input_is_kept(row: Row) -> None:
    x = torch.randn(64, *row.shapes[0][1:], requires_grad=True)
    layer = row.method.module(0.5)
    assert_keeps_nothing(lambda: layer(x), x)


@each_method
def test_state_copies_and_pickles(row: Row) -> None:
    layer = row.method.module(0.3)
    assert not layer.state_dict()
    x = torch.randn(20, *row.shapes[0][1:])
    stored = io.BytesIO()
    torch.save(layer, stored)
    stored.seek(0)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(stored, weights_only=False)):
        torch.manual_seed(5)
        expected = layer(x)
        torch.manual_seed(5)
        assert_same_bits(twin(x), expected)
        assert twin.p == 0.3


@each_method
def test_one_graph_for_all_rates_and_steps(row: Row) -> None:
    model, coins = named(row, 0.5)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(12):
        model[0].p = step / 13
        x = torch.randn(4, *row.shapes[0][1:], requires_grad=True)
        coins.at(step, torch.randperm(100)[:4])
        y = compiled(x)
        assert_same_bits(y.detach(), model(x).detach())
        ours, theirs = (torch.autograd.grad((v * 3).sum(), x)[0] for v in (y, model(x)))
        assert_same_bits(ours, theirs)
    assert counter.frame_count == 1
    coins.unbind()
    compiled(torch.randn(4, *row.shapes[0][1:]))
    assert counter.frame_count == 2  # drawn seeds are other code than named coins; rates still are not
    model[0].p = 0.77
    compiled(torch.randn(4, *row.shapes[0][1:]))
    assert counter.frame_count == 2


@each_method
def test_bad_rates_are_refused_before_anything_changes(row: Row) -> None:
    name, function = row.name, row.method.function.__name__
    layer, x = row.method.module(0.25), torch.ones(2, *row.shapes[0][1:])
    for p in row.outside:
        with pytest.raises(ValueError, match=rf"^{name}: p must be a number in .*; got {p!r}\."):
            row.method.module(p)
        with pytest.raises(ValueError, match=rf"^{name}: p must be"):
            layer.p = p
        with pytest.raises(ValueError, match=rf"^{function}: p must be"):
            row.method.function(x, p, training=True)
    assert layer.p == 0.25
    with pytest.raises(TypeError, match="p must not require grad"):
        row.method.module(torch.tensor(0.5, requires_grad=True))
    with pytest.raises(TypeError, match="training"):
        row.method.function(x, 0.5)


@each_method
def test_inputs_that_cannot_be_tossed_are_refused(row: Row) -> None:
    shape = (2, *row.shapes[0][1:])
    for x, step in (
        (torch.ones(shape, dtype=torch.int64), r"Call x\.float\(\) first"),
        (torch.ones(shape, dtype=torch.bool), r"Call x\.float\(\) first"),
        (torch.quantize_per_tensor(torch.ones(shape), 0.1, 0, torch.qint8), r"Call x\.dequantize\(\) first"),
        (torch.ones(shape).to_sparse(), r"x\.to_dense\(\)"),
    ):
        with pytest.raises(TypeError, match=step):
            row.method.module(0.5)(x)
        with pytest.raises(TypeError, match=step):
            row.method.function(x, 0.5, training=True)
