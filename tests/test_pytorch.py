"""The op in PyTorch: opcheck, compile, export, vmap, checkpoint, autocast, nested tensors, memory."""

import itertools

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_keeps_nothing, assert_same_bits
from rows.row import Called
from torch import Tensor, nn
from torch._dynamo import compiled_autograd
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

import thinnet
import thinnet.functional as F
from thinnet.ops import NoiseKind
from thinnet.ops.arguments import options_of


def count(rate: int) -> Tensor:
    return torch.tensor(rate, dtype=torch.int32)


def network(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 40), *layers, nn.Tanh(), nn.Linear(40, 3))


@pytest.mark.parametrize("kind", list(NoiseKind))
@pytest.mark.parametrize("addressed", [False, True])
def test_opcheck_is_clean(kind: NoiseKind, addressed: bool) -> None:
    name = (torch.tensor(1), torch.tensor(4), torch.arange(8)) if addressed else (None, None, None)
    for linear, units in itertools.product((False, True), ([], [0, 6, 1, 0], [0, 1, 0, 0], [0, 0, 0, 5])):
        rest = (count(20000), torch.tensor(3), *name, units, options_of(kind, linear))
        torch.library.opcheck(torch.ops.thinnet.apply_noise.default, (torch.randn(8, 5, 6, requires_grad=True), *rest))
        torch.library.opcheck(torch.ops.thinnet.apply_noise_.default, (torch.randn(8, 5, 6), *rest))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_is_eager_bit_by_bit(backend: str) -> None:
    model = network(thinnet.nn.Dropout(0.5), thinnet.nn.GaussianDropout(0.2), thinnet.nn.AlphaDropout(0.1))
    rng = thinnet.DropoutRNG(5).bind(model)
    counter = torch._dynamo.testing.CompileCounterWithBackend(backend)
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(4):
        model[1].p = 0.1 + 0.2 * step
        rng.at(step, torch.randperm(1000)[:16])
        x = torch.randn(16, 6, requires_grad=True)
        ours, eager = compiled(x), model(x)
        torch.testing.assert_close(ours, eager)
        torch.testing.assert_close(*(torch.autograd.grad(y.sum(), x)[0] for y in (ours, eager)))
    assert counter.frame_count == 1


def test_compiled_functions_read_a_changing_rate() -> None:
    counter = torch._dynamo.testing.CompileCounterWithBackend("inductor")
    compiled = torch.compile(lambda x, p: F.dropout(x, p, training=True), backend=counter, fullgraph=True)
    for i in range(1, 9):
        y = compiled(torch.ones(20_000), torch.tensor(i / 10))
        assert abs(float((y == 0).double().mean()) - i / 10) < 0.03
    assert counter.frame_count == 1
    for i in range(1, 9):
        y = compiled(torch.ones(20_000), i / 10)
        assert abs(float((y == 0).double().mean()) - i / 10) < 0.03
    assert counter.frame_count <= 3  # the first number is a constant; the second makes it an input


def test_compiled_in_place_and_reseeded() -> None:
    model = nn.Sequential(nn.Linear(6, 40), thinnet.nn.Dropout(0.5, inplace=True))
    compiled = torch.compile(model, fullgraph=True)
    x = torch.randn(7, 6)
    torch.manual_seed(4)
    first = compiled(x)
    torch.manual_seed(4)
    assert_same_bits(compiled(x), first)
    assert not torch.equal(compiled(x), first)


@pytest.mark.parametrize("strict", [True, False])
def test_exported_training_and_eval(strict: bool) -> None:
    model = network(thinnet.nn.Dropout(0.5))
    rng = thinnet.DropoutRNG(3).bind(model).at(4)
    x = torch.randn(9, 6)
    exported = torch.export.export(model, (x,), strict=strict)
    torch.testing.assert_close(exported.module()(x), model(x))
    rng.unbind()
    drawn = torch.export.export(model, (x,), strict=strict).module()
    assert not torch.equal(drawn(x), drawn(x))
    quiet = torch.export.export(model.eval(), (x,), strict=strict)
    assert "thinnet" not in str(quiet.graph)


def test_vmap_different_and_same() -> None:
    x = torch.ones(6, 50)
    layer = thinnet.nn.Dropout(0.5)
    different = torch.func.vmap(layer, randomness="different")(x)
    assert len(torch.unique(different, dim=0)) == 6
    same = torch.func.vmap(layer, randomness="same")(x)
    assert len(torch.unique(same, dim=0)) == 1
    with pytest.raises(RuntimeError, match="randomness"):
        torch.func.vmap(layer)(x)
    torch.manual_seed(3)
    alone = layer(x[0])
    torch.manual_seed(3)
    assert_same_bits(torch.func.vmap(layer, randomness="same")(x)[4], alone)
    torch.func.vmap(thinnet.nn.Dropout(0.5, inplace=True), randomness="different")(torch.ones(6, 50))


@pytest.mark.parametrize("in_dim", [0, 1, 2])
def test_vmap_of_addressed_masks_gives_each_slice_the_same(in_dim: int) -> None:
    layer = thinnet.nn.Dropout(0.5)
    thinnet.DropoutRNG(3).bind(layer).at(4, torch.tensor([9, 8, 7]))
    slices = torch.randn(5, 3, 8)
    y = torch.func.vmap(layer, in_dims=in_dim, out_dims=in_dim)(slices.movedim(0, in_dim)).movedim(in_dim, 0)
    for i in range(5):
        torch.testing.assert_close(y[i], layer(slices[i]), rtol=0, atol=0)


@pytest.mark.parametrize("randomness", ["different", "same"])
def test_gradients_of_each_sample(randomness: str) -> None:
    model = network(thinnet.nn.Dropout(0.5))
    parameters, x = dict(model.named_parameters()), torch.randn(7, 6)

    def loss(parameters: dict[str, Tensor], case: Tensor) -> Tensor:
        return torch.func.functional_call(model, parameters, (case,)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0), randomness=randomness)(parameters, x)
    dead = (each["0.weight"] == 0).all(dim=2)
    assert dead.shape == (7, 40) and 0 < int(dead.sum()) < dead.numel()
    assert (len(torch.unique(dead, dim=0)) == 1) == (randomness == "same")


def test_forward_mode() -> None:
    layer = thinnet.nn.Dropout(0.5)
    thinnet.DropoutRNG(1).bind(layer).at(0)
    x, tangent = torch.randn(4, 30), torch.randn(4, 30)
    y, moved = torch.func.jvp(layer, (x,), (tangent,))
    assert_same_bits(y, layer(x))
    assert_same_bits(moved, layer(tangent))
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, tangent)))
        assert_same_bits(dual.tangent, layer(tangent))
    rows = torch.func.jacfwd(layer, randomness="same")(x[:1]).reshape(30, 30)
    torch.testing.assert_close(rows, torch.func.jacrev(layer)(x[:1]).reshape(30, 30))


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("addressed", [True, False])
def test_checkpointing_recomputes_the_same_mask(reentrant: bool, addressed: bool) -> None:
    model = network(thinnet.nn.Dropout(0.5), thinnet.nn.GaussianDropout(0.3))
    x = torch.randn(8, 6, requires_grad=True)
    if addressed:
        thinnet.DropoutRNG(3).bind(model).at(5)
    torch.manual_seed(1)
    expected = torch.autograd.grad(model(x).square().sum(), [x, *model.parameters()])
    torch.manual_seed(1)
    y = checkpoint(model, x, use_reentrant=reentrant, preserve_rng_state=not addressed)
    y.square().sum().backward()
    for value, gradient in zip((x, *model.parameters()), expected, strict=True):
        torch.testing.assert_close(value.grad, gradient, rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["fake", "symbolic"])
@pytest.mark.parametrize("addressed", [False, True])
def test_fake_tensors_leave_a_real_model_as_it_is(mode: str, addressed: bool) -> None:
    layers = (thinnet.nn.Dropout2d(0.5), thinnet.nn.DropBlock2d(0.5, block=3), thinnet.nn.StochasticDepth(nn.GELU(), 0.5))
    model, x = nn.Sequential(*layers), torch.randn(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    F.dropout(x, 0.5, training=True)  # keeps its rate
    rng = thinnet.DropoutRNG(3).bind(model) if addressed else None
    with FakeTensorMode() as fake:
        if rng is not None:
            rng.at(0, torch.arange(4))
            assert type(model(fake.from_tensor(x))) is FakeTensor
            rng.at(1)
        y = F.dropout(model(fake.from_tensor(x)), 0.5, training=True)
        assert (type(y), y.shape, y.stride()) == (FakeTensor, x.shape, x.stride())
    torch.manual_seed(1)
    expected = model(x)
    graph = make_fx(model, tracing_mode=mode)(x)
    torch.manual_seed(1)
    assert_same_bits(graph(x), expected)


EAGER = {
    "Dropout": lambda: thinnet.nn.Dropout(0.5),
    "in place": lambda: nn.Sequential(nn.Identity(), thinnet.nn.Dropout(0.5, inplace=True)),
    "VariationalDropout": lambda: thinnet.nn.VariationalDropout(64),
    "DropKey": lambda: thinnet.nn.DropKey(0.5),
    "MultiheadAttention": lambda: Called(lambda inner, x: inner(x, x, x)[0], thinnet.nn.MultiheadAttention(64, 4, 0.5)),
    "fused": lambda: Called(lambda x, _: F.dropout_add_rms_norm(x, x, training=True)),
}


@pytest.mark.parametrize("name", EAGER)
def test_compiled_autograd_computes_the_gradients_of_an_eager_step(name: str) -> None:
    model = nn.Sequential(nn.Linear(6, 64), EAGER[name]())
    x = torch.randn(5, 6)
    for seed in range(2):  # the second finds compiled code
        losses = []
        for _ in range(2):
            torch.manual_seed(seed)
            losses.append(model(x).square().sum())
        expected = torch.autograd.grad(losses[0], [*model.parameters()])
        model.zero_grad()
        with compiled_autograd._enable(torch.compile(backend="eager", fullgraph=True)):
            losses[1].backward()
        torch.testing.assert_close([*expected], [parameter.grad for parameter in model.parameters()])


def test_autocast_keeps_the_dtype_that_comes_in() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = network(thinnet.nn.Dropout(0.5))[:2](torch.randn(8, 6))
    assert y.dtype == torch.bfloat16


def test_jagged_nested_tensors() -> None:
    parts = [torch.ones(3, 4), torch.ones(500, 4)]
    x = torch.nested.nested_tensor(parts, layout=torch.jagged, requires_grad=True)
    for layer in (thinnet.nn.Dropout(0.5), thinnet.nn.AlphaDropout(0.5), thinnet.nn.GaussianDropout(0.5)):
        y = layer(x)
        assert [part.shape for part in y.unbind()] == [part.shape for part in parts]
        (gradient,) = torch.autograd.grad((y + x).values().sum(), x)  # of the same raggedness: they can be added
        assert gradient.values().shape == (503, 4)
    assert abs(float((thinnet.nn.Dropout(0.25)(x).values() == 0).double().mean()) - 0.25) < 0.05
    with pytest.raises(TypeError, match="to_padded_tensor"):
        thinnet.nn.Dropout(0.5, inplace=True)(x)


def test_strided_nested_tensors() -> None:
    parts = [torch.ones(3, 4), torch.ones(500, 4)]
    x = torch.nested.nested_tensor(parts, requires_grad=True)
    for layer in (thinnet.nn.Dropout(0.5), thinnet.nn.AlphaDropout(0.5), thinnet.nn.GaussianDropout(0.5)):
        torch.manual_seed(1)
        y = layer(x)
        torch.manual_seed(1)
        assert_same_bits(torch.cat(y.unbind()), layer(torch.cat(parts)))  # the parts of one mask
        (gradient,) = torch.autograd.grad(y.to_padded_tensor(0.0).sum(), x)
        assert [part.shape for part in gradient.unbind()] == [part.shape for part in parts]
    for layer in (thinnet.nn.Dropout(0.5, inplace=True), thinnet.nn.Dropout1d(0.5)):
        with pytest.raises(TypeError, match="to_padded_tensor"):
            layer(x)


@pytest.mark.parametrize("view", [lambda z: z.conj(), lambda z: z.conj().imag, lambda z: z.conj().real, lambda z: z.imag])
def test_in_place_on_views_of_conjugates(view) -> None:
    z = torch.randn(50, dtype=torch.complex64)
    torch.manual_seed(1)
    expected = thinnet.nn.Dropout(0.5)(view(z).clone())
    torch.manual_seed(1)
    y = thinnet.nn.Dropout(0.5, inplace=True)(x := view(z))
    assert y is x and torch.equal(view(z), expected)


def test_backward_after_the_next_step_has_the_mask_of_its_forward() -> None:
    layer = thinnet.nn.Dropout(0.5)
    rng = thinnet.DropoutRNG(1).bind(layer)
    x = torch.ones(2, 50, requires_grad=True)
    outputs = [rng.at(step) and layer(x) for step in range(3)]
    layer.p = 0.9
    for y in outputs:
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert_same_bits(gradient, y.detach())


def test_the_extra_memory_for_backward_is_nothing() -> None:
    """PyTorch keeps a number an element; we keep a few numbers a call."""
    x = torch.randn(1 << 16, requires_grad=True)
    assert_keeps_nothing(lambda: F.dropout(x, 0.5, training=True), x)
    with pytest.raises(AssertionError, match=f"{4 * x.numel()} bytes are kept"):
        assert_keeps_nothing(lambda: nn.functional.dropout(x, 0.5), x)


@pytest.mark.parametrize("given", [lambda i: i, lambda i: i[None]], ids=["0-d", "1-d"])
def test_gradients_of_each_sample_with_its_id_are_those_of_the_batch(given) -> None:
    model = network(thinnet.nn.Dropout(0.5), thinnet.nn.GaussianDropout(0.3))
    ids, x = torch.tensor([7, 3, 9, 1]), torch.randn(4, 6)
    rng, parameters = thinnet.DropoutRNG(0).bind(model), dict(model.named_parameters())

    def loss(parameters: dict[str, Tensor], case: Tensor, i: Tensor) -> Tensor:
        rng.at(5, samples=given(i))
        return torch.func.functional_call(model, parameters, (case[None],)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, ids)
    with pytest.raises(RuntimeError, match=r"torch.func.vmap, which has ended"):
        model(x)
    rng.at(5, samples=ids)
    rows = model(x).square().sum(1)
    for i in range(4):
        alone = torch.autograd.grad(rows[i], [*model.parameters()], retain_graph=True)
        for gradient, name in zip(alone, parameters, strict=True):
            torch.testing.assert_close(each[name][i], gradient)


def test_mapped_batches_have_the_masks_of_their_ids() -> None:
    layer = thinnet.nn.Dropout1d(0.5)
    rng = thinnet.DropoutRNG(0).bind(layer)
    x, ids = torch.randn(3, 2, 8, 5), torch.tensor([[1, 2], [5, 9], [0, 4]])

    def run(x: Tensor, ids: Tensor) -> Tensor:
        return rng.at(5, samples=ids) and layer(x)

    expected = torch.stack([run(x[k], ids[k]) for k in range(3)])
    assert_same_bits(torch.func.vmap(run)(x, ids), expected)
    assert_same_bits(torch.func.vmap(run, (3, 1))(x.permute(1, 2, 3, 0), ids.T), expected)
    assert_same_bits(torch.func.vmap(run, (None, 0))(x[0], ids), torch.stack([run(x[0], ids[k]) for k in range(3)]))


@pytest.mark.parametrize("samples", [None, [7, 3, 9, 1]])
def test_per_sample_gradients_without_an_id_inside_are_refused(samples: list[int] | None) -> None:
    """Each row would have the mask of one sample."""
    layer = thinnet.nn.Dropout(0.5)
    thinnet.DropoutRNG(0).bind(layer).at(0, samples)
    with pytest.raises(ValueError, match=r"Inside the mapped function call rng.at\(step, samples=id\)"):
        torch.func.vmap(lambda x: layer(x[None]))(torch.ones(4, 8))
