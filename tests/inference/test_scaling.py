"""Weight scaling: the bits of the model in eval, the right expectation in the classic form, and exports without dropout."""

import copy
import pickle
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from assertions import assert_same_bits
from edited import Words
from torch import Tensor, nn

import thinnet
from thinnet.inference.deterministic.readers import Scale
from thinnet.inference.deterministic.scaling import weight_scaled

SITES = (thinnet.rng.Site, nn.modules.dropout._DropoutNd)


class Functional(nn.Module):
    """Dropout as functions: one with the mode, one without it, and one of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(F.relu(self.first(x)), 0.5, self.training)
        x = F.scaled_dot_product_attention(x[None], x[None], x[None], dropout_p=0.1)[0]
        return self.last(F.dropout(x, 0.25))


class Residual(nn.Module):
    """Dropout on a branch, before or after its layer."""

    def __init__(self, behind: bool) -> None:
        super().__init__()
        self.drop, self.layer, self.behind = nn.Dropout(0.5), nn.Linear(4, 4), behind

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.drop(self.layer(x)) if self.behind else self.layer(self.drop(x)))


class TwoReaders(nn.Module):
    """A layer that reads what was dropped, and another time what was not."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.layer = nn.Dropout(0.5), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.drop(x)) + self.layer(x)


class Tied(nn.Module):
    """The layer that reads the site has the weights of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.drop, self.layer = nn.Embedding(9, 4), nn.Dropout(0.5), nn.Linear(4, 9)
        self.layer.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.layer(self.drop(self.words(ids)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def convolutional() -> nn.Module:
    maps = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), thinnet.nn.Dropout2d(0.3), nn.MaxPool2d(2)
    return nn.Sequential(*maps, nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 3))


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


X, MAPS, SEQUENCES = torch.randn(5, 4), torch.randn(5, 1, 8, 8), torch.randn(5, 6, 8)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "mlp": (mlp, X),
    "convolutional": (convolutional, MAPS),
    "transformer": (transformer, SEQUENCES),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_as_the_model_in_eval(name: str, dtype: torch.dtype) -> None:
    factory, x = NETWORKS[name]
    model, x = factory().to(dtype).eval(), x.to(dtype)
    scaled = weight_scaled(model)
    with torch.no_grad():
        assert_same_bits(scaled(x), model(x))
    assert list(scaled.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("example", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_random_in_any_mode(name: str, example: bool) -> None:
    factory, x = NETWORKS[name]
    scaled = weight_scaled(factory(), x[:1] if example else None)
    assert not scaled.training and not any(isinstance(module, SITES) for module in scaled.modules())
    assert not [place for place in thinnet.sites(scaled, x, passes=2) if place.on_in_train or place.on_in_eval]


def test_the_model_is_unchanged_and_the_copy_is_independent() -> None:
    model = nn.Sequential(nn.Linear(4, 4), thinnet.nn.Dropout(0.5), nn.Linear(4, 4)).train()
    thinnet.DropoutRNG(3).bind(model)
    scaled = weight_scaled(model, X)
    assert model.training and isinstance(model[1], thinnet.nn.Dropout) and model[1].context is not None
    assert not scaled._forward_pre_hooks and not scaled._forward_hooks and model._forward_pre_hooks
    assert not {id(p) for p in model.parameters()} & {id(p) for p in scaled.parameters()}
    model.load_state_dict(scaled.state_dict())
    for copied in (copy.deepcopy(scaled), pickle.loads(pickle.dumps(scaled))):
        assert torch.equal(copied(X), scaled(X))


def test_tied_weights_stay_tied() -> None:
    scaled: Any = weight_scaled(Words())
    assert scaled.head.weight is scaled.words.weight


def test_functional_dropout_is_removed_with_an_example() -> None:
    model = Functional()
    scaled = weight_scaled(model, X)
    for kept in (scaled.train(), copy.deepcopy(scaled), scaled.eval(), pickle.loads(pickle.dumps(scaled))):
        h = F.relu(model.first(X))
        torch.testing.assert_close(kept(X), model.last(F.scaled_dot_product_attention(h[None], h[None], h[None])[0]))
    assert list(scaled.state_dict()) == list(model.state_dict())


def test_an_example_may_have_one_row() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).eval()
    for classic in (False, True):
        assert weight_scaled(model, X[:1], classic=classic)(X).shape == (5, 2)


def test_random_operations_that_stay_are_named() -> None:
    class ByHand(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.bernoulli(torch.full_like(x, 0.5)) if self.training else x

    class Always(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.bernoulli(torch.full_like(x, 0.5))

    scaled = weight_scaled(nn.Sequential(nn.Linear(4, 4), ByHand()), X)
    assert scaled.train()(X).equal(scaled(X))
    with pytest.raises(ValueError, match=r"nothing random may be left; 1 \(bernoulli at .*test_scaling.py"):
        weight_scaled(nn.Sequential(nn.Linear(4, 4), Always()), X)


@pytest.mark.parametrize("model", [nn.Dropout(0.5), thinnet.nn.Dropout(0.5), thinnet.nn.DropConnect(nn.Linear(4, 4))])
def test_a_model_that_is_one_site(model: nn.Module) -> None:
    scaled = weight_scaled(model)
    assert not isinstance(scaled, SITES)
    assert torch.equal(scaled(X), model.eval()(X))


# The classic form: a model that was trained with masks that do not scale.


def linear() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Dropout(0.25), nn.Linear(4, 3), nn.Dropout(0.5), nn.Linear(3, 2)).double()


def average(model: nn.Sequential, x: Tensor, inverted: bool) -> Tensor:
    """The average over all masks, with the masks put in by hand."""
    total: Any = 0.0
    for kept in product((0, 1), repeat=7):
        bits = torch.tensor(kept, dtype=torch.float64)
        weight = float(torch.where(bits[:4] == 1, 0.75, 0.25).prod() * 0.5**3)
        scale = (1 / 0.75, 1 / 0.5) if inverted else (1.0, 1.0)
        total = total + weight * model[3](model[1](x * bits[:4] * scale[0]) * bits[4:] * scale[1])
    return total.detach()


def test_both_forms_have_the_expectation_of_their_training() -> None:
    model, x = linear(), X.double()
    torch.testing.assert_close(weight_scaled(model)(x).detach(), average(model, x, inverted=True))
    classic: Any = weight_scaled(model, x, classic=True)
    torch.testing.assert_close(classic(x).detach(), average(model, x, inverted=False))
    assert not any(isinstance(module, (*SITES, Scale)) for module in classic.modules())
    torch.testing.assert_close(classic[1].weight, 0.75 * model[1].weight)
    torch.testing.assert_close(classic[3].weight, 0.5 * model[3].weight)
    assert torch.equal(classic[1].bias, model[1].bias)


def test_the_two_forms_compute_the_same() -> None:
    inverted, x = linear(), X.double()
    trained_with_masks = copy.deepcopy(inverted)  # the same function in training: W / q with masks that do not scale
    with torch.no_grad():
        trained_with_masks[1].weight.div_(0.75)
        trained_with_masks[3].weight.div_(0.5)
    assert torch.allclose(average(trained_with_masks, x, inverted=False), average(inverted, x, inverted=True))
    torch.testing.assert_close(weight_scaled(trained_with_masks, x, classic=True)(x), weight_scaled(inverted)(x))


def by_multiplication(model: nn.Module) -> nn.Module:
    """What the classic form has to compute: each site multiplies by q."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, SITES):
            module.forward = lambda x, q=1 - module.p: x * q  # type: ignore[method-assign,operator]
    return model


FOLDED: list[tuple[nn.Module, Tensor]] = [
    (mlp(), X),
    (convolutional(), MAPS),
    (nn.Sequential(nn.Dropout(0.5), nn.ReLU(), nn.Dropout2d(0.25), nn.Conv2d(1, 2, 3)), MAPS),
    (
        nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), thinnet.nn.Dropout(0.25), nn.Linear(128, 2)
        ),
        MAPS,
    ),
    (Residual(behind=False), X),
]
STAYING: list[tuple[nn.Module, Tensor]] = [
    (nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), X),
    (nn.Sequential(nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 2)), X),
    (nn.Sequential(nn.Dropout(0.5), nn.LayerNorm(4)), X),
    (nn.Sequential(nn.Dropout(0.5), nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")), MAPS),
    (nn.Sequential(nn.Dropout(0.5), nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))), X),
    (Residual(behind=True), X),
    (TwoReaders(), X),
    (Tied(), torch.arange(6)),
    (nn.Dropout(0.5), X),
]


@pytest.mark.parametrize(("model", "x"), FOLDED + STAYING)
def test_the_classic_form_multiplies_by_q_in_the_weights_or_beside_them(model: nn.Module, x: Tensor) -> None:
    scaled = weight_scaled(model, x, classic=True)
    torch.testing.assert_close(scaled(x), by_multiplication(model)(x))
    assert any(isinstance(module, Scale) for module in scaled.modules()) == ((model, x) in STAYING)
    assert list(scaled.state_dict()) == list(model.state_dict())


def test_tied_weights_are_not_scaled() -> None:
    scaled: Any = weight_scaled(Tied(), torch.arange(6), classic=True)
    assert scaled.layer.weight is scaled.words.weight


BAD: list[tuple[nn.Module, Tensor | None, str]] = [
    (mlp(), None, "must have an example"),
    (nn.Sequential(nn.AlphaDropout(0.5)), X, "must multiply by a mask .* '0' is AlphaDropout"),
    (nn.Sequential(thinnet.nn.GaussianDropout(0.5)), X, "'0' is GaussianDropout"),
    (transformer(), SEQUENCES, "'layers.0.self_attn.dropout' is inside of a module or a function"),
    (Functional(), X, "is inside of a module or a function"),
    (nn.Sequential(nn.LSTM(4, 2, 2, dropout=0.5)), X, "'0.dropout' is inside"),
]


@pytest.mark.parametrize(("model", "x", "message"), BAD)
def test_the_classic_form_refuses_models_that_it_cannot_scale(model: nn.Module, x: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weight_scaled(model, x, classic=True)


def test_a_site_that_the_example_does_not_reach_is_named() -> None:
    model = nn.ModuleDict({"used": nn.Linear(4, 4), "drop": nn.Dropout(0.5)})
    model.forward = lambda x: model["used"](x)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="the example must reach all sites; 'drop' was not"):
        weight_scaled(model, X, classic=True)


# Exports.


@pytest.mark.parametrize("name", [*NETWORKS, "functional"])
def test_torch_export_has_no_dropout_and_no_mode(name: str) -> None:
    factory, x = {**NETWORKS, "functional": (Functional, X)}[name]
    scaled = weight_scaled(factory(), x if name == "functional" else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        programs = [torch.export.export(scaled.train(mode), (x,)) for mode in (name == "functional", False)]
    for program in programs:
        assert not [node for node in program.graph.nodes if node.op == "call_function" and "dropout" in str(node.target)]
    with torch.no_grad():
        torch.testing.assert_close(programs[-1].module()(x), scaled.eval()(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_gives_equal_outputs(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    factory, x = NETWORKS[name]
    torch.manual_seed(0)
    model = factory().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(weight_scaled(model), (x,), dynamo=True, verbose=False)
    assert "Dropout" not in {node.op_type for node in program.model_proto.graph.node}
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    (out,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(out), model(x), rtol=1e-4, atol=1e-5)
