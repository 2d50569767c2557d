"""Moments: exact or within the stated error, and finite where the variance is zero."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import thinnet
from thinnet.methods.elementwise.dropout import Dropout
from thinnet.methods.moments import moments
from thinnet.methods.moments.fast_dropout import FastDropout
from thinnet.methods.moments.moments import Moments
from thinnet.methods.moments.propagate import propagate
from thinnet.methods.weights.drop_connect import DropConnect


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def integral(function: Callable[[Tensor], Tensor], m: Moments, places: int = 4001) -> Moments:
    """Mean and variance of a function of a normal number, by the trapezoidal rule over ten standard deviations."""
    z = torch.linspace(-10, 10, places, dtype=torch.float64)
    weight = torch.exp(-0.5 * z.square())
    weight /= weight.sum()
    values = function(m.mean[:, None] + m.variance.sqrt()[:, None] * z)
    mean = values @ weight
    return Moments(mean, (values - mean[:, None]).square() @ weight)


def grid(means: Tensor, deviations: tuple[float, ...]) -> Moments:
    pairs = torch.cartesian_prod(means.double(), torch.tensor(deviations, dtype=torch.float64))
    return Moments(pairs[:, 0], pairs[:, 1].square())


def error(found: Moments, exact: Moments) -> tuple[float, float]:
    return float((found.mean - exact.mean).abs().max()), float((found.variance - exact.variance).abs().max())


@pytest.mark.parametrize("p", (0.25, 0.5, 0.9))
def test_dropout_and_a_linear_layer_are_exact_over_all_masks(p: float) -> None:
    layer, x = nn.Linear(6, 3).double(), double(6)
    masks = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)), dtype=torch.float64)
    chance = (masks * (1 - p) + (1 - masks) * p).prod(1, keepdim=True)
    outputs = layer(x * masks / (1 - p))
    mean = (chance * outputs).sum(0)
    exact = mean, (chance * (outputs - mean).square()).sum(0)
    torch.testing.assert_close(tuple(propagate(nn.Sequential(nn.Dropout(p), layer), x)), exact)
    torch.testing.assert_close(tuple(propagate(FastDropout(layer, p), x)), exact, rtol=2e-5, atol=2e-5)


def test_relu_equals_the_integral() -> None:
    m = grid(torch.linspace(-8, 8, 33), (0.01, 0.3, 1.0, 4.0))
    found, exact = moments.relu(m), integral(torch.relu, m, 40_001)
    torch.testing.assert_close(tuple(found), tuple(exact), rtol=1e-6, atol=1e-6)


def test_relu_far_from_zero_and_in_float32() -> None:
    m = grid(torch.tensor([-1e4, -30.0, -6.0, -1.0, 0.0, 1.0, 6.0, 30.0, 1e4]), (1e-20, 1e-3, 1.0, 5.0))
    exact = moments.relu(m)
    found = moments.relu(Moments(m.mean.float(), m.variance.float()))
    torch.testing.assert_close(found.mean.double(), exact.mean, rtol=1e-5, atol=1e-6)
    assert bool(((found.variance - exact.variance).abs() <= 2e-5 * m.variance + 1e-38).all())
    assert bool((found.variance >= 0).all() and (found.mean >= 0).all())


FUNCTIONS = {
    "relu": (moments.relu, torch.relu),
    "sigmoid": (moments.sigmoid, torch.sigmoid),
    "tanh": (lambda m: moments.smooth(m, torch.tanh), torch.tanh),
    "gelu": (lambda m: moments.smooth(m, nn.functional.gelu), nn.functional.gelu),
}


@pytest.mark.parametrize(("ours", "function"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
def test_without_variance_it_equals_the_function_and_gradients_are_finite(ours, function, dtype: torch.dtype) -> None:
    x = torch.tensor([-1e4, -20.0, -1.0, 0.0, 2.0, 20.0, 1e4], dtype=dtype)
    for variance in (0.0, 1e-30):
        m = Moments(x.clone().requires_grad_(), torch.full_like(x, variance).requires_grad_())
        found = ours(m)
        torch.testing.assert_close(found.mean, function(x), rtol=1e-5, atol=1e-6)
        assert bool((found.variance.abs() <= 2 * variance).all())
        gradients = torch.autograd.grad((found.mean + found.variance).sum(), list(m))
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)
        torch.testing.assert_close(gradients[0][x != 0], torch.func.vmap(torch.func.grad(function))(x[x != 0]))


def test_gradients_equal_finite_differences() -> None:
    m = Moments(double(3, 4).requires_grad_(), (double(3, 4).square() + 0.1).requires_grad_())
    for function in (moments.relu, moments.sigmoid, moments.softmax, lambda m: moments.smooth(m, torch.tanh)):
        torch.autograd.gradcheck(lambda mean, variance, f=function: tuple(f(Moments(mean, variance))), tuple(m))


def test_the_error_of_the_sigmoid_is_as_stated() -> None:
    m = grid(torch.linspace(-30, 30, 61), (0.01, 0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 100.0))
    mean, variance = error(moments.sigmoid(m), integral(torch.sigmoid, m))
    assert mean <= 0.018 and variance <= 0.011


def test_the_error_of_quadrature_is_as_stated() -> None:
    m = grid(torch.linspace(-6, 6, 25), (0.01, 0.3, 1.0, 2.0))
    for function in (torch.tanh, nn.functional.gelu, nn.functional.silu, nn.functional.softplus):
        mean, variance = error(moments.smooth(m, function), integral(function, m))
        assert mean <= 3e-3 and variance <= 3e-3, function


@pytest.mark.parametrize(("most", "bounds"), ((1.0, (0.02, 0.01)), (4.0, (0.07, 0.02))))
def test_the_error_of_the_softmax_is_as_stated(most: float, bounds: tuple[float, float]) -> None:
    torch.manual_seed(0)
    m = Moments(2 * double(40, 5), most * torch.rand(40, 5).double())
    draws = (m.mean + m.variance.sqrt() * double(20_000, 40, 5)).softmax(-1)
    mean, variance = error(moments.softmax(m), Moments(draws.mean(0), draws.var(0)))
    assert mean <= bounds[0] and variance <= bounds[1]


def test_the_softmax_sums_to_one_and_equals_the_sigmoid_for_two_classes() -> None:
    m = Moments(2 * double(40, 5), 4 * torch.rand(40, 5).double())
    found = moments.softmax(m)
    torch.testing.assert_close(found.mean.sum(-1), torch.ones(40).double())
    still = moments.softmax(Moments.of(m.mean))
    torch.testing.assert_close(tuple(still), (m.mean.softmax(-1), torch.zeros_like(m.mean)))
    two = Moments(double(7, 2), double(7, 2).square())
    pair = Moments(two.mean[:, 0] - two.mean[:, 1], two.variance.sum(1))
    torch.testing.assert_close(tuple(moments.softmax(two).map(lambda t: t[:, 0])), tuple(moments.sigmoid(pair)))
    torch.testing.assert_close(moments.softmax(Moments(m.mean.T, m.variance.T), 0).variance.T, found.variance)


LINEAR = {
    "conv": (nn.Conv2d(2, 3, 3, stride=2, padding=1), (5, 2, 6, 6)),
    "transposed": (nn.ConvTranspose1d(2, 3, 3), (5, 2, 6)),
    "batch norm": (nn.BatchNorm1d(4).eval(), (5, 4)),
    "average pooling": (nn.AvgPool2d((2, 3), stride=1), (5, 2, 6, 6)),
    "average pooling 1d": (nn.AvgPool1d(3), (5, 2, 6)),
    "average pooling 3d": (nn.AvgPool3d(2), (5, 2, 4, 2, 2)),
    "to one place": (nn.AdaptiveAvgPool2d(1), (5, 2, 6, 6)),
    "flatten": (nn.Flatten(), (5, 2, 3)),
}


@pytest.mark.parametrize(("layer", "shape"), LINEAR.values(), ids=LINEAR.keys())
def test_linear_layers_are_exact(layer: nn.Module, shape: tuple[int, ...]) -> None:
    layer = layer.double()
    for buffer in layer.buffers():
        buffer.data.add_(0.3) if buffer.is_floating_point() else None
    m = Moments(double(*shape), double(*shape).square())
    found = propagate(layer, m)
    torch.testing.assert_close(found.mean, layer(m.mean))
    case = m.mean[:1]
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x).flatten(), case).flatten(1)
    torch.testing.assert_close(found.variance[0].flatten(), jacobian.square() @ m.variance[0].flatten())


def test_rules_equal_their_layers() -> None:
    m = Moments(double(3, 4), double(3, 4).square())
    for layer, function in ((nn.ReLU(), moments.relu), (nn.Sigmoid(), moments.sigmoid), (nn.Softmax(-1), moments.softmax)):
        torch.testing.assert_close(tuple(propagate(layer, m)), tuple(function(m)))
    for layer in (Dropout(0.3), nn.Dropout(0.3), thinnet.nn.GaussianDropout(0.3)):
        for mode in (True, False):
            torch.testing.assert_close(tuple(propagate(layer.train(mode), m)), tuple(moments.dropout(m, 0.3)))
    whole = propagate(nn.Sequential(nn.Linear(4, 2), nn.Dropout(1.0)).double(), m)
    assert not whole.mean.any() and not whole.variance.any()


def test_dropped_weights_have_their_stated_moments() -> None:
    layer = DropConnect(nn.Linear(4, 3).double(), 0.5)
    x = double(2, 4)
    torch.testing.assert_close(tuple(propagate(layer, x)), tuple(layer.gaussian(x)))
    model = nn.Sequential(nn.Dropout(0.5), layer)
    found = propagate(model, x[:1])
    with torch.no_grad():
        draws = model(x[:1].expand(200_000, -1))
    torch.testing.assert_close(found.mean[0], draws.mean(0), rtol=0.02, atol=0.02)
    torch.testing.assert_close(found.variance[0], draws.var(0), rtol=0.03, atol=0.01)


@pytest.mark.parametrize("p", (0.1, 0.5))
def test_a_network_agrees_with_a_hundred_thousand_passes(p: float) -> None:
    torch.manual_seed(1)
    hidden = nn.Linear(16, 32), nn.ReLU(), Dropout(p), nn.Linear(32, 32), nn.ReLU(), Dropout(p)
    model, x = nn.Sequential(*hidden, nn.Linear(32, 3)), torch.randn(4, 16)
    with torch.no_grad():
        found = propagate(model, x)
        draws = torch.stack([model(row.expand(100_000, -1)) for row in x], 1)
        plain = model.eval()(x)
    deviation = draws.std(0)
    apart, without = ((mean - draws.mean(0)).abs() / deviation for mean in (found.mean, plain))
    assert float(apart.max()) < 0.1  # of a standard deviation of the passes; their mean is good to 0.02
    assert float(apart.mean()) < float(without.mean())
    assert float((found.variance.sqrt() / deviation).log().abs().max()) < math.log(1.3)


def test_an_error_names_a_layer_without_a_rule_and_rules_can_be_added() -> None:
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    class Odd(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).sin()

    model = nn.Sequential(nn.Sequential(nn.ReLU(), Doubled()))
    with pytest.raises(TypeError, match=r"^propagate: model\.0\.1 is of class Doubled, which has no rule\. Pass"):
        propagate(model, torch.ones(2))
    rule = {Doubled: lambda module, m: Moments(2 * m.mean, 4 * m.variance)}
    m = Moments(torch.ones(2), torch.ones(2))
    torch.testing.assert_close(propagate(model, m, rules=rule).variance, 4 * moments.relu(m).variance)
    for layer in (Odd(2, 2), nn.LSTM(2, 2), nn.LayerNorm(2), nn.Dropout2d()):
        with pytest.raises(TypeError, match=r"has no rule"):
            propagate(layer, torch.ones(1, 2))
    for layer, x in ((nn.AvgPool2d(2, padding=1), torch.ones(1, 1, 4, 4)), (nn.AdaptiveAvgPool1d(2), torch.ones(1, 1, 5))):
        with pytest.raises(ValueError, match=r"^propagate: the windows of a pooling must have one size"):
            propagate(layer, x)
    with pytest.raises(ValueError, match=r"must have running statistics"):
        propagate(nn.BatchNorm1d(2, track_running_stats=False), torch.ones(3, 2))


def test_fast_dropout_is_normal_with_the_moments_of_dropout_before_the_layer() -> None:
    layer, x = nn.Linear(200, 4), torch.randn(1, 200)
    with torch.no_grad():
        fast = FastDropout(layer, 0.5)(x.expand(50_000, -1))
        masked = layer(Dropout(0.5)(x.expand(50_000, -1)))
    for draws in (fast, masked):
        assert float(((draws.mean(0) - layer(x)[0].detach()) / draws.std(0)).abs().max()) < 6 / 50_000**0.5
    assert float((fast.var(0) / masked.var(0) - 1).abs().max()) < 6 * (4 / 50_000) ** 0.5
    skew = ((fast - fast.mean(0)) / fast.std(0)).pow(3).mean(0)
    assert float(skew.abs().max()) < 6 * (6 / 50_000) ** 0.5


def test_fast_dropout_of_zeros_has_finite_gradients() -> None:
    layer, x = FastDropout(nn.Linear(3, 2), 0.5), torch.zeros(4, 3, requires_grad=True)
    layer(x).sum().backward()
    assert bool(x.grad.isfinite().all() and layer.weight.grad.isfinite().all())
    with pytest.raises(TypeError, match=r"^FastDropout: layer must be one of Linear; got Conv1d"):
        FastDropout(nn.Conv1d(1, 1, 1))
