"""Dropout with a noise shape or several rates: who shares a decision, the rate and the expectation of each feature."""

import copy
import json

import pytest
import torch
from assertions import assert_keeps_nothing, assert_same_bits
from torch import Tensor, nn

import thinnet
import thinnet.functional as F
from thinnet.methods.moments.propagate import propagate

RATES = [0.0, 0.1, 0.5, 0.9, 1.0]
LAYERS = {
    "features": (thinnet.nn.Dropout(RATES), (20_000, 5)),
    "channels": (thinnet.nn.Dropout(torch.tensor(RATES).reshape(5, 1, 1), noise_shape=(None, None, 1, 1)), (20_000, 5, 2, 2)),
    "time": (thinnet.nn.Dropout(RATES, noise_shape=(None, 1, None)), (20_000, 3, 5)),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def of(name: str) -> tuple[thinnet.nn.Dropout, Tensor]:
    layer, shape = LAYERS[name]
    return copy.deepcopy(layer), torch.ones(shape)


def shared_axes(x: Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if bool((x.diff(dim=axis) == 0).all())]


@pytest.mark.parametrize(
    ("noise_shape", "expected"),
    [((None, 1, None), [1]), ((8, 1, 5), [1]), ((1, 7, 1), [0, 2]), ((5,), [0, 1]), ([None, None, 1], [2]), ((8, 7, 5), [])],
    ids=str,
)
def test_axes_of_size_one_share_their_noise_as_in_keras(noise_shape, expected: list[int]) -> None:
    layer, x = thinnet.nn.Dropout(0.5, noise_shape=noise_shape), torch.ones(8, 7, 5)
    thinnet.DropoutRNG(0).bind(addressed := copy.deepcopy(layer)).at(3)
    for y in (layer(x), addressed(x), F.dropout(x, 0.5, noise_shape=noise_shape, training=True)):
        assert shared_axes(y) == expected
    assert layer.eval()(x) is x and F.dropout(x, 0.5, noise_shape=noise_shape, training=False) is x


def test_a_noise_shape_is_spatial_dropout_of_the_same_axes() -> None:
    layers, x = (thinnet.nn.Dropout(0.5, noise_shape=(None, None, 1, 1)), thinnet.nn.Dropout2d(0.5)), torch.randn(4, 3, 5, 5)
    for layer in layers:
        thinnet.DropoutRNG(3).bind(layer).at(1, samples=[9, 2, 4, 7])
    assert_same_bits(*(layer(x) for layer in layers))


@each_layer
def test_each_feature_has_its_rate_and_its_expectation(name: str) -> None:
    layer, x = of(name)
    features = 1 if name == "channels" else -1
    for y in (layer(x), F.dropout(x, layer.key(x).p, noise_shape=layer.noise_shape, training=True)):
        for p, row in zip(RATES, y.transpose(0, features).flatten(1), strict=True):
            assert abs(float((row == 0).double().mean()) - p) < 0.015
            kept = row[row != 0]
            torch.testing.assert_close(kept, torch.full_like(kept, 65536 / max(1, 65536 - round(p * 65536))))


@each_layer
def test_the_derivative_is_the_same_noise_and_no_mask_is_kept(name: str) -> None:
    layer, x = of(name)
    x.requires_grad_()
    y = layer(x)
    assert_same_bits(torch.autograd.grad(y.sum(), x)[0], y.detach())
    assert_keeps_nothing(lambda: layer(x), x, most=128)  # rates and scales of the features


@each_layer
def test_addresses_hold_for_any_split_of_the_batch_and_in_compiled_code(name: str) -> None:
    layer, x = of(name)
    x, ids = x[:6], torch.tensor([5, 3, 9, 11, 2, 0])
    rng = thinnet.DropoutRNG(0).bind(layer).at(1, ids)
    whole = layer(x)
    assert_same_bits(torch.compile(layer, backend="aot_eager", fullgraph=True)(x), whole)
    parts = [rng.at(1, part) and layer(x[:3]) for part in ids.split(3)]
    assert_same_bits(torch.cat(parts), whole)


def test_rates_change_and_survive_copies() -> None:
    layer = thinnet.nn.Dropout([0.0, 1.0])
    assert repr(layer) == "Dropout(p=[0.0, 1.0], inplace=False)" and layer.p is None
    assert copy.deepcopy(layer)(torch.ones(1, 2)).tolist() == [[1.0, 0.0]]
    layer.p = [1.0, 0.0]
    assert layer(torch.ones(1, 2)).tolist() == [[0.0, 1.0]]
    layer.p = 0  # as code does that turns dropout off
    assert layer(torch.ones(1, 2)).tolist() == [[1.0, 1.0]]


def test_values_dtypes_and_in_place_are_those_of_dropout() -> None:
    layer = thinnet.nn.Dropout(RATES, inplace=True)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        x = torch.full((400, 5), torch.inf, dtype=dtype)
        y = layer(x)
        assert y is x and y.dtype == dtype and not bool(y.isnan().any()) and not bool(y[:, 4].any())
    assert layer(torch.ones(4, 5, dtype=torch.complex64)).dtype == torch.complex64
    with pytest.raises(RuntimeError, match="leaf Variable"):
        layer(torch.ones(2, 5, requires_grad=True))


@pytest.mark.parametrize(
    "p", [[0.1, 1.5], [], [True, False], ["a"], [[0.1], [0.2, 0.3]], [float("nan"), 0.1], torch.ones(2) * 2]
)
def test_what_are_no_rates_is_refused(p) -> None:
    for use in (lambda: thinnet.nn.Dropout(p), lambda: F.dropout(torch.ones(2), p, training=True)):
        with pytest.raises(ValueError, match=r"[dD]ropout: p must be numbers in \[0, 1\]; got"):
            use()
    with pytest.raises(ValueError, match="p must be a number"):
        thinnet.nn.GaussianDropout(p)


@pytest.mark.parametrize("noise_shape", [5, (0, 1), (True, 1), "ab", (1.0, 2), (-1, 1)])
def test_what_is_no_noise_shape_is_refused(noise_shape) -> None:
    for use in (thinnet.nn.Dropout, lambda **options: F.dropout(torch.ones(2, 2), training=True, **options)):
        with pytest.raises(ValueError, match=r"[dD]ropout: noise_shape must be positive integers.*got"):
            use(noise_shape=noise_shape)


def test_what_does_not_broadcast_is_refused() -> None:
    for layer in (thinnet.nn.Dropout([0.1, 0.2]), thinnet.nn.Dropout(torch.rand(1, 3, 3))):
        with pytest.raises(ValueError, match=r"p must broadcast over x, of shape \(3, 3\)"):
            layer(torch.ones(3, 3))
    for shape in ((4, 1), (1, 3, 3)):
        with pytest.raises(ValueError, match=r"noise_shape must broadcast over x, of shape \(3, 3\)"):
            thinnet.nn.Dropout(noise_shape=shape)(torch.ones(3, 3))


@pytest.mark.parametrize("layer", [thinnet.nn.Dropout([0.5] * 8), thinnet.nn.Dropout(0.5, noise_shape=(None, 1))], ids=str)
def test_tools_for_independent_elements_leave_it(layer: nn.Module) -> None:
    model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), layer, nn.Linear(8, 2)), torch.randn(16, 4)
    with pytest.raises(TypeError, match="propagate: dropout must have one rate"):
        propagate(model, x)
    stripped = copy.deepcopy(model)
    thinnet.strip(stripped)
    assert torch.equal(stripped.train()(x), model.eval()(x))
    with pytest.raises(ValueError, match="thin: model must contain dropout"):
        thinnet.thin(model.train(), x, always=True)


def test_a_saved_run_with_other_rates_is_refused() -> None:
    rngs = [thinnet.DropoutRNG(0).bind(thinnet.nn.Dropout(rates)).at(1) for rates in ([0.1, 0.5], [0.1, 0.5], [0.1, 0.6])]
    state = json.loads(json.dumps(rngs[0].state_dict()))
    rngs[1].load_state_dict(state)
    with pytest.raises(ValueError, match=r"has rate \[0.1"):
        rngs[2].load_state_dict(state)
