"""In the place of PyTorch's classes: the same constructor, shapes, warnings, errors and state, side by side with them."""

import copy
import inspect
import io
import itertools
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import thinnet
import thinnet.functional
from thinnet.methods.registry import FOLDERS, REGISTRY

PAIRS = [
    (getattr(thinnet.nn, name), getattr(nn, name))
    for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
]
each_pair = pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda cls: cls.__name__)


SHAPES = {"Dropout1d": (6, 7, 5), "Dropout3d": (6, 7, 2, 4, 5)}  # (N, C, ...); else four axes


def outcome(cls: type[nn.Module], shape: tuple[int, ...], training: bool) -> tuple[str, tuple[int, ...] | None, int]:
    """What a class makes of a shape: the kind of error, the shape that comes back, the number of warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            shape_out, error = tuple(cls(0.5).train(training)(torch.randn(shape)).shape), ""
        except RuntimeError as e:
            shape_out, error = None, type(e).__name__
    return error, shape_out, len(caught)


@each_pair
def test_the_constructor_is_the_same(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    signatures = [[*inspect.signature(cls).parameters.values()] for cls in (ours, theirs)]
    kinds = [[(p.name, p.default) for p in parameters if p.kind != p.KEYWORD_ONLY] for parameters in signatures]
    assert kinds[0] == kinds[1]
    for arguments in ((), (0.3,), (0.3, True), (0,), (1,), (torch.tensor(0.25),)):
        one, other = ours(*arguments), theirs(*arguments)
        assert (float(one.p), one.inplace, one.training) == (float(other.p), other.inplace, other.training)
    assert repr(ours(0.3, True)) == repr(theirs(0.3, True))


@each_pair
def test_the_input_has_the_name_that_pytorch_gives_it(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    for cls in (ours, theirs):
        assert [*inspect.signature(cls.forward).parameters] == ["self", "input"]


@each_pair
def test_every_number_of_axes_ends_as_with_pytorch(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    for axes, training in itertools.product(range(8), (True, False)):
        shape = (3,) * axes
        assert outcome(ours, shape, training)[1:] == outcome(theirs, shape, training)[1:], (shape, training)


@each_pair
def test_the_channels_are_those_of_pytorch(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    for axes in range(2, 7):
        x = torch.ones((3,) * axes)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                noise_shapes = [shared_axes(cls, x) for cls in (ours, theirs)]
        except RuntimeError:
            continue
        assert noise_shapes[0] == noise_shapes[1], axes


def shared_axes(cls: type[nn.Module], x: torch.Tensor) -> list[bool]:
    """The axes along which no output of many changes."""
    outputs = torch.stack([cls(0.5)(x) for _ in range(60)])
    return [bool((outputs.diff(dim=axis) == 0).all()) for axis in range(1, outputs.ndim)]


@each_pair
def test_rates_that_pytorch_refuses_are_refused(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    for p in (-0.1, 1.1, -1e-9, 1 + 1e-9):
        for cls in (ours, theirs):
            with pytest.raises(ValueError, match=r"p|probability"):
                cls(p)


@each_pair
def test_checkpoints_load_both_ways(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    one, other = (nn.Sequential(nn.Linear(3, 3), cls(0.3)) for cls in (ours, theirs))
    assert one.state_dict().keys() == other.state_dict().keys()
    assert str(one.load_state_dict(other.state_dict())) == str(other.load_state_dict(one.state_dict()))


@each_pair
def test_memory_formats_and_strides_are_pytorchs(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    base = torch.randn(SHAPES.get(ours.__name__, (6, 7, 4, 5)))
    for order in itertools.permutations(range(base.ndim)):
        permuted = base.permute(order)
        for x in (permuted, permuted[..., ::2], permuted[1:, 1:]):
            one, other = ours(0.5)(x), theirs(0.5)(x)
            assert one.stride() == torch.empty_like(x).stride()
            assert one.shape == other.shape


@pytest.mark.parametrize("format", [torch.channels_last, torch.contiguous_format], ids=str)
@pytest.mark.parametrize(("ours", "theirs"), [pair for pair in PAIRS if pair[0].__name__ not in SHAPES], ids=str)
def test_image_formats_are_kept_as_pytorch_keeps_them(ours, theirs, format: torch.memory_format) -> None:
    x = torch.randn(4, 8, 6, 5).contiguous(memory_format=format).requires_grad_()
    for cls in (ours, theirs):
        y = cls(0.5)(x)
        assert y.is_contiguous(memory_format=format)
        assert torch.autograd.grad(y, x, torch.ones_like(y))[0].is_contiguous(memory_format=format)


@each_pair
def test_in_place_refuses_what_autograd_refuses(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    shape = SHAPES.get(ours.__name__, (6, 7, 4, 5))
    for cls in (ours, theirs) if ignores_inplace(ours) is ignores_inplace(theirs) else (ours,):
        leaf = torch.randn(shape, requires_grad=True)
        for x in (leaf, leaf[:1]):
            before = x.detach().clone()
            with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
                cls(0.5, inplace=True)(x)
            assert torch.equal(x, before)
        hidden = leaf.sigmoid()
        loss = cls(0.5, inplace=True)(hidden).sum()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
        with pytest.raises(RuntimeError):
            cls(0.5, inplace=True)(torch.randn(1, *shape[1:]).expand(shape))
        with torch.inference_mode():
            made = torch.randn(shape)
            cls(0.5, inplace=True)(made)
        with pytest.raises(RuntimeError, match=r"(?i)inference tensor"):
            cls(0.5, inplace=True)(made)


@each_pair
def test_eval_returns_any_tensor_itself(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    x = torch.ones(SHAPES.get(ours.__name__, (6, 7, 4, 5)))
    for given in (x.long(), x.bool(), x.cfloat(), x.to(torch.float8_e4m3fn), x.to_sparse(), x.to_mkldnn()):
        assert ours(0.5).eval()(given) is given
        assert theirs(0.5).eval()(given) is given


def ignores_inplace(cls: type[nn.Module]) -> bool:
    x = torch.ones(SHAPES.get(cls.__name__, (6, 7, 4, 5)))
    cls(0.5, inplace=True)(x)
    return bool((x == 1).all())


def test_in_place_is_never_ignored() -> None:
    """PyTorch's alpha classes take `inplace=True` and do nothing with it."""
    assert [theirs.__name__ for _, theirs in PAIRS if ignores_inplace(theirs)] == [
        "AlphaDropout",
        "FeatureAlphaDropout",
    ]
    assert not any(ignores_inplace(ours) for ours, _ in PAIRS)


@pytest.mark.parametrize("ours", [ours for ours, _ in PAIRS] + [thinnet.nn.GaussianDropout])
def test_in_place_writes_and_differentiates(ours: type[nn.Module]) -> None:
    leaf = torch.randn(SHAPES.get(ours.__name__, (6, 7, 4, 5)), requires_grad=True)
    torch.manual_seed(1)
    expected = ours(0.5)(leaf * 2)
    (gradient,) = torch.autograd.grad(expected.square().sum(), leaf)
    torch.manual_seed(1)
    hidden = leaf * 2
    version = hidden._version
    y = ours(0.5, inplace=True)(hidden)
    assert y.data_ptr() == hidden.data_ptr() and hidden._version > version
    torch.testing.assert_close(torch.autograd.grad(y.square().sum(), leaf)[0], gradient)


def test_in_place_without_a_gradient_counts_as_a_write() -> None:
    x, weight = torch.randn(64), torch.ones(64, requires_grad=True)
    loss = (x * weight).sum()  # keeps x for backward
    thinnet.nn.Dropout(0.5, inplace=True)(x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_the_network_of_every_introduction_runs_unchanged() -> None:
    def network(dropout: type[nn.Module]) -> nn.Module:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc1 = nn.Linear(784, 512)
                self.dropout = dropout(0.5)
                self.fc2 = nn.Linear(512, 10)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.fc2(self.dropout(torch.relu(self.fc1(x))))

        return Net()

    model, other = network(thinnet.nn.Dropout), network(nn.Dropout)
    model.load_state_dict(other.state_dict())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x, target = torch.randn(64, 784), torch.randint(0, 10, (64,))
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model.train()(x), target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(model.eval()(x), other.eval()(x), rtol=0, atol=0)
    assert not torch.equal(model.train()(x), model(x))


def test_a_rate_survives_what_moves_and_casts_a_model() -> None:
    model = nn.Sequential(nn.Linear(2, 2), thinnet.nn.Dropout(0.3))
    for moved in (model.half(), model.bfloat16(), model.double(), model.to_empty(device="cpu"), model.share_memory()):
        assert int(moved[1].key(torch.ones(1)).rate) == 19661
    with torch.device("meta"):
        born = nn.Sequential(nn.Linear(2, 2), thinnet.nn.Dropout(0.3))
    assert int(born.to_empty(device="cpu")[1].key(torch.ones(1)).rate) == 19661


def test_a_layer_made_or_changed_under_inference_mode_still_trains() -> None:
    with torch.inference_mode():
        layer = thinnet.nn.Dropout(0.3)
        layer.p = 0.4
        layer(torch.ones(4))
        thinnet.functional.dropout(torch.ones(4), 0.123, training=True)
    x = torch.ones(4, requires_grad=True)
    (layer(x) + thinnet.functional.dropout(x, 0.123, training=True)).sum().backward()
    assert x.grad is not None


def test_rates_first_used_under_inference_mode_serve_backward() -> None:
    x = torch.ones(4, 3, 8, 8, requires_grad=True)
    with torch.inference_mode():
        thinnet.functional.drop_block2d(x, 0.1234, block=3, training=True)
    thinnet.functional.drop_block2d(x, 0.1234, block=3, training=True).sum().backward()  # it saves the rate
    assert x.grad is not None


def test_a_symbolic_trace_records_a_layer_as_one_call() -> None:
    model = nn.Sequential(nn.Linear(2, 2), thinnet.nn.Dropout(0.3), nn.Unflatten(0, (2, 2)), thinnet.nn.Dropout1d(0.2))
    traced = torch.fx.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1", "2", "3"]
    assert traced(torch.ones(4, 2)).shape == (2, 2, 2)


@each_pair
def test_code_that_finds_dropout_by_class_finds_ours(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    """So do the loops of trl and transformers that turn it off, and those that turn it on for Monte Carlo dropout."""
    model = nn.Sequential(ours(0.5))
    x = torch.randn(SHAPES.get(ours.__name__, (6, 7, 4, 5)))
    for module in model.modules():
        if isinstance(module, theirs):
            module.p = 0
    assert torch.equal(model(x), x) and model[0].p == 0
    copied = copy.deepcopy(model)
    torch.save(model, file := io.BytesIO())
    for other in (copied, torch.load(io.BytesIO(file.getvalue()), weights_only=False)):
        assert isinstance(other[0], theirs) and other[0].p == 0
        other[0].p = 0.5
        assert not torch.equal(other(x), x) and torch.equal(model(x), x)


@pytest.mark.parametrize("p", [None, True, np.bool_(True), torch.tensor(True), "0.5", math.nan, 0.5j, [[]], {}, object()])
def test_what_is_no_rate_is_refused_everywhere(p: object) -> None:
    """In the constructor of each class with a rate, and when the rate is set later."""
    layers = [method.module for method in REGISTRY if method.module and "p" in inspect.signature(method.module).parameters]
    assert len(layers) > 30
    for cls in layers:
        with pytest.raises((ValueError, TypeError), match=rf"{cls.__name__}.*: p must be"):
            cls(**required(cls), p=p)
    layer = thinnet.nn.Dropout(0.25)
    with pytest.raises(ValueError, match="Dropout: p must be"):
        layer.p = p
    assert layer.p == 0.25


def required(cls: type[nn.Module]) -> dict[str, object]:
    """The arguments besides the rate that a class must be given."""
    layers = {"layer": nn.Linear(2, 2), "branch": nn.Linear(2, 2)}
    parameters = inspect.signature(cls).parameters.items()
    return {
        name: layers.get(name, 4) for name, each in parameters if each.default is each.empty and each.kind < 4 and name != "p"
    }


@each_pair
def test_a_parameter_is_no_rate(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    """Nothing could train it, and nn.Module would take it for one of its parameters."""
    learned, fixed = nn.Parameter(torch.tensor(0.25)), nn.Parameter(torch.tensor(0.25), requires_grad=False)
    layer = ours(0.5)
    for use in (lambda: ours(learned), lambda: setattr(layer, "p", learned)):
        with pytest.raises(TypeError, match=r"p must not require grad.*p.detach"):
            use()
    layer.p = fixed
    assert layer.p == ours(fixed).p == 0.25 and not list(layer.parameters())


@pytest.mark.parametrize("x", [[1.0], np.ones(3), 1.0, None, "x"])
def test_what_is_no_tensor_is_refused(x: object) -> None:
    for layer in (ours(0.5) for ours, _ in PAIRS):
        with pytest.raises(TypeError, match=rf"{type(layer).__name__}: x must be a tensor; got {type(x).__name__}"):
            layer(x)


def first(function) -> inspect.Parameter:
    return next(iter(inspect.signature(function).parameters.values()))


FUNCTIONS = [
    method.function
    for method in REGISTRY
    if method.function is not None and method not in FOLDERS["losses"] and first(method.function).annotation is torch.Tensor
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_a_symbolic_trace_records_a_function_as_one_call(function) -> None:
    parameters = [*inspect.signature(function).parameters.values()][1:]
    needed = {each.name: True for each in parameters if each.default is each.empty}
    graph = torch.fx.Tracer().trace(lambda x: function(x, **needed))
    call, _ = [*graph.nodes][1:]
    assert (call.op, call.target, call.args[0].op) == ("call_function", function, "placeholder")
    assert {
        **call.kwargs,
        **dict(zip([each.name for each in parameters], call.args[1:], strict=False)),
    }.items() >= needed.items()


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_a_function_refuses_what_is_no_tensor(function) -> None:
    needed = {each.name: True for each in [*inspect.signature(function).parameters.values()][1:] if each.default is each.empty}
    for x in (None, [1.0], np.ones(3), 1.0):
        rule = rf"^{function.__name__}: {first(function).name} must be a tensor; got {type(x).__name__}"
        with pytest.raises(TypeError, match=rule):
            function(x, **needed)


def test_a_traced_function_drops_and_can_be_copied() -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return thinnet.functional.dropout1d(thinnet.functional.dropout(x, 0.5, training=self.training), training=False)

    x = torch.ones(4, 64)
    traced = torch.fx.symbolic_trace(Net())
    for each in (traced, copy.deepcopy(traced), pickle.loads(pickle.dumps(traced))):
        torch.manual_seed(3)
        y = each(x)
        torch.manual_seed(3)
        assert torch.equal(y, Net()(x)) and not torch.equal(y, x)
    assert torch.equal(torch.fx.symbolic_trace(Net().eval())(x), x)


LEAVES = [
    (thinnet.nn.DropEdge(0.5), 2),
    (thinnet.nn.DropNodes(0.5), 2),
    (thinnet.nn.Zoneout(0.5), 2),
    (thinnet.nn.WordDropout(0.5, fill=0), 2),
    (thinnet.nn.InformationDropout(nn.Linear(2, 2)), 2),
    (thinnet.nn.LockedDropout(0.5), 1),
    (thinnet.nn.DropBlock2d(0.5), 1),
    (thinnet.nn.ZoneoutLSTM(4, 4), 1),
    (thinnet.nn.VariationalGRU(4, 4), 1),
]


@pytest.mark.parametrize(("layer", "inputs"), LEAVES, ids=lambda value: type(value).__name__)
def test_a_symbolic_trace_records_layers_of_several_inputs_as_one_call(layer: nn.Module, inputs: int) -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.layer(x) if inputs == 1 else self.layer(x, y)

    nodes = torch.fx.symbolic_trace(Holder()).graph.nodes
    assert [(node.op, node.target) for node in nodes][2:-1] == [("call_module", "layer")]


@pytest.mark.parametrize("generator", [3, "cpu", True, torch.ones(2)], ids=str)
def test_what_is_no_generator_is_refused(generator) -> None:
    for function in (thinnet.functional.dropout, thinnet.functional.drop_path, thinnet.functional.locked_dropout):
        with pytest.raises(TypeError, match=rf"{function.__name__}: generator must be a torch.Generator; got"):
            function(torch.ones(2, 3, 4), 0.5, training=True, generator=generator)


NUMBERS = [
    *[(thinnet.nn.ImportanceDropout, {"units": 4}, name) for name in ("floor", "momentum")],
    *[(thinnet.nn.InformationDropout, {"side": nn.Linear(2, 2)}, name) for name in ("beta", "limit")],
    *[(thinnet.nn.Standout, {"layer": nn.Linear(2, 2)}, name) for name in ("alpha", "beta")],
    *[(thinnet.nn.Shakeout, {"layer": nn.Linear(2, 2)}, name) for name in ("c", "smooth")],
    *[(thinnet.nn.SparseVariationalDropout, {"layer": nn.Linear(2, 2)}, name) for name in ("log_sigma2", "threshold")],
    *[(thinnet.nn.ShakeDrop, {}, name) for name in ("alpha", "beta")],
    *[(thinnet.nn.Jumpout, {}, name) for name in ("p_min", "p_max")],
    (thinnet.nn.TargetedDropout, {"layer": nn.Linear(2, 2)}, "targeted"),
    (thinnet.nn.Mixout, {"layer": nn.Linear(2, 2)}, "target"),
]


@pytest.mark.parametrize(("cls", "needed", "name"), NUMBERS, ids=lambda value: getattr(value, "__name__", str(value)[:9]))
def test_other_arguments_that_are_no_numbers_are_refused(cls: type[nn.Module], needed: dict[str, object], name: str) -> None:
    for value in (True, np.bool_(True), "0.1", math.nan, [], {}, 1j, object(), np.ones(2), torch.ones(3)):
        with pytest.raises((ValueError, TypeError), match=rf"^{cls.__name__}: .*{name}.* must (be|have)"):
            cls(**needed, **{name: value})
