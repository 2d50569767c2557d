"""The invariants that hold for every method. No test asks for a name: methods differ in their facts and their rows."""

import copy
import io
import itertools
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_keeps_nothing, assert_mean, assert_rate, assert_same_bits, assert_unbiased, assert_variance
from rows import LAYERS, ROWS
from rows.row import Row
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import thinnet
from thinnet.ops import reference
from thinnet.rng import Site, rates

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def each(condition: Callable[[Row], object] = lambda row: True) -> pytest.MarkDecorator:
    """Runs a test for every row that fulfils a condition."""
    return pytest.mark.parametrize("row", [row for row in ROWS if condition(row)], ids=lambda row: row.name)


def each_shape(condition: Callable[[Row], object] = lambda row: True) -> pytest.MarkDecorator:
    pairs = [(row, shape) for row in ROWS if condition(row) for shape in row.shapes]
    return pytest.mark.parametrize(("row", "shape"), pairs, ids=lambda value: getattr(value, "name", str(value)))


def each_layer(condition: Callable[[Row], object] = lambda row: True) -> pytest.MarkDecorator:
    """Runs a test for every row and layer that fulfils a condition."""
    found = [row for row in (*ROWS, *LAYERS) if condition(row)]
    return pytest.mark.parametrize("row", found, ids=lambda row: row.name)


def seeded(work: Callable[..., Any], *arguments: Any, seed: int = 3) -> Any:
    """The result of a call whose masks depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return work(*arguments)


def delivered(p: float) -> float:
    return rates.count(p) / rates.RESOLUTION


def addressed(row: Row, p: float) -> tuple[nn.Module, thinnet.DropoutRNG]:
    model = nn.Sequential(row.module(p))
    return model, thinnet.DropoutRNG(seed=11).bind(model)


def run(
    model: Callable[[Tensor], Tensor], x: Tensor, weight: Tensor | None = None, parameters: Iterable[Tensor] = ()
) -> tuple[Tensor, ...]:
    """The output and the gradients of its weighted sum: of the input, then of the parameters."""
    x = x.detach().requires_grad_()
    y = model(x)
    total = (y if weight is None else y * weight).sum()
    gradients = torch.autograd.grad(total, [x, *parameters], allow_unused=True, materialize_grads=True)
    return y.detach(), *gradients


def parts(model: nn.Module, rng: thinnet.DropoutRNG, x: Tensor, ids: Tensor, size: int) -> tuple[Tensor, ...]:
    """What `run` returns for a batch, computed in smaller batches of a size."""
    pieces = [
        (rng.at(3, some), run(model, part, None, model.parameters()))[1]
        for part, some in zip(x.split(size), ids.split(size), strict=True)
    ]
    y, gradient, *rest = zip(*pieces, strict=True)
    return torch.cat(y), torch.cat(gradient), *(torch.stack(each).sum(0) for each in rest)


def many(row: Row, layer: nn.Module, case: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    """Outputs and gradients of one case under independent masks, `(draws, ...)`."""
    if not row.facts.per_batch:
        y, gradient = run(layer, case.expand(draws, *case.shape))
        return y, gradient
    ys, gradients = zip(*(run(layer, case[None]) for _ in range(draws // 20)), strict=True)
    return torch.cat(ys), torch.cat(gradients)


def noise_of(row: Row, shape: tuple[int, ...], ids: Tensor, step: int) -> Tensor:
    """The noise of module "0" in its noise shape, as the definition takes it."""
    shape = row.noise_shape(shape)
    ids = ids if not row.facts.per_batch else ids[:1] if row.facts.after_first else ids[:1] * 0
    count = torch.Size(shape).numel() // len(ids)
    where = torch.tensor(11), torch.tensor(step), torch.tensor(thinnet.rng.site_number("0")), ids
    if row.facts.noise == "bits":
        return (reference.unit_bits(*where, count) / rates.RESOLUTION).double().reshape(shape)
    words = reference.noise(*where, count)
    numbers = reference.normal(words) if row.facts.noise == "normal" else (1 + reference.uniform(words)) / 2
    return numbers.double().reshape(shape)


def shared_axes(row: Row, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis for axis, (size, noise) in enumerate(zip(shape, row.noise_shape(shape), strict=True)) if noise < size)


@each_shape(lambda row: not row.resized)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_output_has_the_shape_and_dtype_of_the_input(row: Row, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = row.inputs(shape).to(dtype)
    y = row.module(0.5).to(dtype)(x)
    assert (y.shape, y.dtype, y.stride()) == (x.shape, x.dtype, x.stride())


@each_shape()
def test_eval_and_rate_zero_equal_the_stated_eval(row: Row, shape: tuple[int, ...]) -> None:
    x = row.inputs(shape)
    expected = row.in_eval(x, 0.5)
    torch.testing.assert_close(row.module(0.5).eval()(x), expected)
    assert_same_bits(row.module(0.5).eval()(x), row.module(0.5).eval()(x))
    for p in (0.0, 1e-9)[: 2 * (0.0 in row.edges)]:  # the second rounds to rate 0 but draws a mask
        torch.testing.assert_close(row.module(p)(x), row.in_eval(x, 0.0))


@each_shape(lambda row: row.facts.in_eval is None)
def test_identity_keeps_every_bit(row: Row, shape: tuple[int, ...]) -> None:
    x = row.inputs(shape)
    assert row.module(0.5).eval()(x) is x
    for p in (0.0, 1e-9)[: 2 * (0.0 in row.edges)]:
        assert_same_bits(row.module(p)(x), x)


@each(lambda row: row.method.function and row.facts.in_eval is None)
def test_the_functional_form_is_the_identity_in_eval_and_at_rate_zero(row: Row) -> None:
    x = row.inputs(row.shapes[0])
    assert row.function(x, 0.5, training=False) is x
    assert_same_bits(row.function(x, 0.0, training=True), x)


@each(lambda row: row.edges)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_outputs_and_gradients_are_finite_at_the_edges(row: Row, dtype: torch.dtype) -> None:
    for p, shape in itertools.product(row.edges, row.shapes):
        module = row.module(p).to(dtype)
        assert all(bool(t.isfinite().all()) for t in run(module, row.inputs(shape).to(dtype), None, module.parameters()))


@each(lambda row: row.edges and row.facts.expected_drop)
def test_the_drop_is_exact_at_the_edges(row: Row) -> None:
    for p, shape in itertools.product(row.edges, row.shapes):
        _, gradient = run(row.module(p), row.inputs(shape))
        assert float((gradient == 0).double().mean()) == row.facts.expected_drop(p, **row.settings)


@each(lambda row: row.facts.expected_drop and row.facts.independent and row.facts.expected_drop(0.5, **row.settings) > 0)
def test_dropped_values_do_not_leak(row: Row) -> None:
    x = torch.full((64, *row.shapes[0][1:]), torch.inf)
    layer = row.module(0.5)
    torch.manual_seed(3)
    y = layer(x)
    torch.manual_seed(3)
    _, gradient = run(layer, torch.ones_like(x))
    assert bool((y.isfinite() == (gradient == 0)).all()) and bool((gradient == 0).any())


@each()
def test_a_seed_repeats_a_mask_and_each_call_draws_a_new_one(row: Row) -> None:
    x, layer = row.inputs((50, *row.shapes[0][1:])), row.module(0.5)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert_same_bits(layer(x), first)
    assert not torch.equal(first, second)
    with torch.random.fork_rng():
        layer(x)


@each(lambda row: row.method.function)
def test_the_functional_form_draws_the_masks_of_the_module(row: Row) -> None:
    x, layer = row.inputs((50, *row.shapes[0][1:])), row.module(0.5)
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert_same_bits(row.function(x, 0.5, training=True), first)
    assert_same_bits(row.function(x, 0.5, training=True, generator=torch.Generator().manual_seed(3)), first)


@each(lambda row: row.facts.expected_drop)
def test_the_delivered_rate_equals_the_stated_one(row: Row) -> None:
    for p, shape in itertools.product(row.rates, row.shapes):
        stated = row.facts.expected_drop(delivered(p), **row.settings)
        draws = max(1, 400_000 // torch.Size(shape[1:]).numel())
        _, gradient = many(row, row.module(p), row.inputs(shape[1:]), draws)
        if row.facts.independent:
            shared = shared_axes(row, shape)
            assert_rate((gradient.amax(shared) if shared else gradient) == 0, stated)
        else:  # elements of a mask depend on each other, so masks are counted
            share = (gradient == 0).double().flatten(1).mean(1, keepdim=True)
            assert_mean(share, torch.tensor([stated]).double(), share.var(0))


@each(lambda row: row.facts.mean and row.facts.variance)
def test_mean_and_variance_equal_the_stated_ones(row: Row) -> None:
    for p, shape in itertools.product(row.rates, row.shapes):
        case = row.inputs(shape[1:])
        y, _ = many(row, row.module(p), case, 200_000 // max(1, case.numel()) + 2000)
        given = case.double()[None], delivered(p)
        mean, variance = row.facts.mean(*given, **row.settings)[0], row.facts.variance(*given, **row.settings)[0]
        assert_mean(y.double(), mean, variance)
        assert_variance(y.double(), mean, variance)


@each_shape(lambda row: row.facts.definition)
def test_output_and_gradients_equal_those_of_the_paper(row: Row, shape: tuple[int, ...]) -> None:
    ids = torch.arange(shape[0]) * 3 + 5
    for p in row.rates:
        model, rng = addressed(row, p)
        x = row.inputs(shape).double()
        module, parameters = model.double()[0], list(model.parameters())
        weight = torch.randn(1, dtype=torch.float64) + torch.arange(1.0, 1.0 + len(x), dtype=torch.float64)
        weight = weight.reshape(-1, *[1] * (x.ndim - 1))
        rng.at(7, ids)
        ours = run(model, x, weight, parameters)
        paper = row.paper(module, delivered(p), noise_of(row, shape, ids, 7))
        theirs = run(paper.output, x, weight, [paper.parameters.get(parameter, parameter) for parameter in parameters])
        ours = [one.sum() if other.ndim < one.ndim else one for one, other in zip(ours, theirs, strict=True)]
        torch.testing.assert_close(ours, list(theirs), rtol=1e-6, atol=1e-6)


@each(lambda row: row.facts.independent and row.facts.expected_drop)
def test_units_along_shared_axes_share_their_mask_and_others_do_not(row: Row) -> None:
    shape = (200, *row.shapes[-1][1:])
    _, gradient = run(row.module(0.5), torch.ones(shape))
    shared = shared_axes(row, shape)
    units = gradient.amax(shared, keepdim=True) if shared else gradient
    assert bool((gradient == units).all())
    for axis in [axis for axis in range(units.ndim) if units.shape[axis] > 1 and row.facts.expected_drop(0.5) > 0]:
        apart = units.narrow(axis, 1, units.shape[axis] - 1) != units.narrow(axis, 0, units.shape[axis] - 1)
        assert float(apart.double().mean()) > 0.4


@each(lambda row: not row.facts.per_batch)
def test_samples_keep_their_masks_in_any_batch_and_order(row: Row) -> None:
    x, ids = row.inputs((12, *row.shapes[0][1:])).double(), torch.randperm(1000)[:12]
    model, rng = addressed(row, 0.5)
    whole = parts(model.double(), rng, x, ids, 12)
    torch.testing.assert_close(parts(model, rng, x, ids, 1), whole)
    torch.testing.assert_close(parts(model, rng, x, ids, 5), whole)
    order = torch.randperm(12)
    y, gradient, *rest = parts(model, rng, x[order], ids[order], 12)
    torch.testing.assert_close((y, gradient, *rest), (whole[0][order], whole[1][order], *whole[2:]))
    assert not torch.equal(rng.at(4, ids) and model(x), whole[0])


@each(lambda row: row.facts.per_batch)
def test_a_batch_has_one_mask_for_any_samples(row: Row) -> None:
    x = row.inputs(row.shapes[0][1:]).expand(12, *row.shapes[0][1:])
    model, rng = addressed(row, 0.5)
    ids = torch.cat((torch.tensor([7 if row.facts.after_first else 0]), 10 + torch.randperm(1000)[:11]))
    whole = rng.at(3, ids) and model(x)
    torch.testing.assert_close(rng.at(3, int(ids[0])) and model(x), whole)
    torch.testing.assert_close(whole, whole[:1].expand_as(whole))
    assert not torch.equal(rng.at(4) and model(x), whole)


@each(lambda row: row.derivative)
def test_gradients_equal_finite_differences(row: Row) -> None:
    model, rng = addressed(row, 0.3)
    rng.at(3)
    x = row.inputs((3, *row.shapes[0][1:])).double().requires_grad_()
    torch.autograd.gradcheck(lambda x, *_: model(x), (x, *model.double().parameters()))


@each(lambda row: row.twice)
def test_second_derivatives_equal_finite_differences(row: Row) -> None:
    model, rng = addressed(row, 0.3)
    rng.at(3)
    x = row.inputs((3, *row.shapes[0][1:])).double().requires_grad_()
    torch.autograd.gradgradcheck(lambda x, *_: model(x), (x, *model.double().parameters()), fast_mode=True)


@each_layer(lambda row: any(isinstance(module, Site) for module in row.module(0.5).modules()))
@pytest.mark.parametrize("reentrant", (False, True))
def test_activation_checkpointing_draws_the_same_masks(row: Row, reentrant: bool) -> None:
    x = row.inputs((3, *row.shapes[0][1:]))
    model, rng = addressed(row, 0.5)
    for at in (lambda: rng.at(3, 40), lambda: (rng.unbind(), torch.manual_seed(3))):
        at()
        expected = run(model, x, None, model.parameters())
        at()
        leaf = x.detach().requires_grad_()
        y = checkpoint(model, leaf, use_reentrant=reentrant)
        model.zero_grad()
        y.sum().backward()
        parameters = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in model.parameters()]
        torch.testing.assert_close((y.detach(), leaf.grad, *parameters), expected)


@each_layer()
def test_vmap_computes_what_each_index_computes(row: Row) -> None:
    layer = row.module(0.5)
    xs = torch.stack([row.inputs(row.shapes[0]) for _ in range(3)])
    together = seeded(torch.func.vmap(layer, randomness="same"), xs)
    torch.testing.assert_close(together, torch.stack([seeded(layer, x) for x in xs]))
    apart = torch.func.vmap(layer, randomness="different")(xs[:1].expand(8, *xs[0].shape))
    assert not torch.equal(apart, apart[:1].expand_as(apart))


@each_layer()
def test_functional_gradients_equal_those_of_backward(row: Row) -> None:
    layer = row.module(0.5)
    xs = torch.stack([row.inputs(row.shapes[0]) for _ in range(2)])
    weight = torch.randn_like(seeded(layer, xs[0]))
    expected = [seeded(run, layer, x, weight, list(layer.parameters()))[1:] for x in xs]
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}

    def loss(x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        return (torch.func.functional_call(layer, parameters, (x,)) * weight).sum()

    found = torch.func.grad(loss, argnums=(0, 1))
    gradient, others = seeded(found, xs[0], parameters)
    torch.testing.assert_close((gradient, *others.values()), expected[0])
    gradient, others = seeded(torch.func.vmap(found, in_dims=(0, None), randomness="same"), xs, parameters)
    torch.testing.assert_close((gradient, *others.values()), tuple(map(torch.stack, zip(*expected, strict=True))))


@each_layer()
def test_forward_mode_equals_backward(row: Row) -> None:
    layer, x = row.module(0.5), row.inputs(row.shapes[0])
    tangent = torch.randn_like(x)
    y, along = seeded(torch.func.jvp, layer, (x,), (tangent,))
    weight = torch.randn_like(y)
    expected, gradient = seeded(run, layer, x, weight)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(seeded(layer, forward_ad.make_dual(x, tangent)))
    for value, derivative in ((y, along), dual):
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close((derivative * weight).sum(), (gradient * tangent).sum(), rtol=1e-4, atol=1e-5)


@each_layer()
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=str)
def test_autocast_gives_training_the_dtype_of_eval(row: Row, dtype: torch.dtype) -> None:
    x = row.inputs(row.shapes[0]).to(dtype)
    for _ in range(4):  # no dtype depends on a mask
        layer = row.module(0.5)
        expected = seeded(layer, x.float())
        with torch.autocast("cpu", torch.bfloat16):
            y = seeded(layer, x.requires_grad_())
            assert y.dtype == layer.eval()(x).dtype
        torch.testing.assert_close(y.float(), expected, rtol=0.1, atol=0.1)
        y.float().sum().backward()


@each_layer(lambda row: max(map(len, row.shapes)) > (3 if row.resized else 2))
def test_the_memory_format_is_that_of_the_input(row: Row) -> None:
    shape = max(row.shapes, key=len)
    x = row.inputs(shape)
    last = x.movedim(1, -1).contiguous().movedim(-1, 1)
    y, whole = seeded(row.module(0.5), last), row.module(0.5).eval()(last)
    torch.testing.assert_close(y, seeded(row.module(0.5), x))
    if not row.resized:
        assert y.stride() == last.stride()
    elif y.shape == whole.shape:
        assert y.stride() == whole.stride()


@each_layer(lambda row: row.rounded)
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16), ids=str)
def test_a_low_precision_output_is_rounded_once(row: Row, dtype: torch.dtype) -> None:
    for p in row.small_and_large:
        low, x = row.module(p).to(dtype), row.inputs((64, *row.shapes[0][1:])).to(dtype)
        wide = copy.deepcopy(low).float()
        assert_same_bits(seeded(low, x), seeded(wide, x.float()).to(dtype))


@each_layer(lambda row: not row.rounded)
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16), ids=str)
def test_low_precision_has_no_bias(row: Row, dtype: torch.dtype) -> None:
    for p in row.small_and_large:
        pairs = []
        for seed in range(40):  # other weights each time, as each rounds in its own way
            low, x = row.module(p).to(dtype), row.inputs((16, *row.shapes[0][1:])).to(dtype)
            for parameter in low.parameters():
                parameter.data.mul_(1 + torch.rand_like(parameter))
            wide = copy.deepcopy(low).float()
            pairs.append((seeded(low, x, seed=seed).detach(), seeded(wide, x.float(), seed=seed).detach()))
        assert_unbiased(pairs)


@each()
def test_no_mask_is_kept_for_backward(row: Row) -> None:
    x = row.inputs((64, *row.shapes[0][1:])).requires_grad_()
    layer = row.module(0.5)
    assert_keeps_nothing(lambda: layer(x), x, *layer.parameters(), most=row.kept)


@each()
def test_copies_pickles_and_loaded_state_draw_the_same_masks(row: Row) -> None:
    layer = row.module(0.3)
    x = row.inputs((20, *row.shapes[0][1:]))
    stored = io.BytesIO()
    torch.save(layer, stored)
    stored.seek(0)
    fresh = row.module(0.3)
    fresh.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(stored, weights_only=False), fresh):
        torch.manual_seed(5)
        expected = layer(x)
        torch.manual_seed(5)
        assert_same_bits(twin(x), expected)
        assert getattr(twin, "p", None) == getattr(layer, "p", None)


@each(lambda row: row.facts.in_eval is None)
def test_the_state_dict_has_the_stated_keys(row: Row) -> None:
    assert tuple(row.module(0.3).state_dict()) == row.state


@each(lambda row: row.compiles)
def test_one_compiled_graph_serves_all_rates_and_steps(row: Row) -> None:
    model, rng = addressed(row, 0.5)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(12):
        if row.edges:
            model[0].p = step / 13
        x = row.inputs((4, *row.shapes[0][1:]))
        rng.at(step, torch.randperm(100)[:4])
        torch.testing.assert_close(*(run(either, x, None, model.parameters()) for either in (compiled, model)))
    assert counter.frame_count == 1
    rng.unbind()
    compiled(row.inputs((4, *row.shapes[0][1:])).requires_grad_())
    assert counter.frame_count == 2  # drawn seeds are new code, new rates are not
    if row.edges:
        model[0].p = 0.77
    compiled(row.inputs((4, *row.shapes[0][1:])).requires_grad_())
    assert counter.frame_count == 2


@each(lambda row: row.outside)
def test_invalid_rates_are_refused_before_anything_changes(row: Row) -> None:
    layer = row.module(0.25)
    for p in row.outside:
        with pytest.raises(ValueError, match=rf"^{row.name}: p must be a number in .*; got {p!r}\."):
            row.module(p)
        with pytest.raises(ValueError, match=rf"^{row.name}: p must be"):
            layer.p = p
    assert layer.p == 0.25
    with pytest.raises(TypeError, match="p must not require grad"):
        row.module(torch.tensor(0.5, requires_grad=True))


@each(lambda row: row.outside and row.method.function)
def test_the_functional_form_refuses_invalid_rates_and_a_missing_training(row: Row) -> None:
    x, function = row.inputs((2, *row.shapes[0][1:])), row.method.function.__name__
    for p in row.outside:
        with pytest.raises(ValueError, match=rf"^{function}: p must be"):
            row.function(x, p, training=True)
    with pytest.raises(TypeError, match="training"):
        row.function(x, 0.5)


@each(lambda row: row.facts.in_eval is None and row.method.function)
def test_unsupported_inputs_are_refused(row: Row) -> None:
    shape = (2, *row.shapes[0][1:])
    for x, step in (
        (torch.ones(shape, dtype=torch.int64), r"Call x\.float\(\) first"),
        (torch.ones(shape, dtype=torch.bool), r"Call x\.float\(\) first"),
        (torch.quantize_per_tensor(torch.ones(shape), 0.1, 0, torch.qint8), r"Call x\.dequantize\(\) first"),
        (torch.ones(shape).to_sparse(), r"x\.to_dense\(\)"),
    ):
        with pytest.raises(TypeError, match=step):
            row.module(0.5)(x)
        with pytest.raises(TypeError, match=step):
            row.function(x, 0.5, training=True)


@each()
def test_every_module_has_a_dropout_site(row: Row) -> None:
    assert any(isinstance(module, Site) for module in row.module(0.5).modules())
