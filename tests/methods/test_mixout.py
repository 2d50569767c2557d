"""Mixout: the paper's formula, its mean, and where the pre-trained weights are stored."""

import copy

import pytest
import torch
from assertions import assert_mean, assert_same_bits, assert_variance
from torch import nn

import thinnet
from thinnet.methods.weights.mixout import Mixout, mixout


@pytest.mark.parametrize("p", (0.0, 0.25, 0.5, 0.9))
def test_it_equals_the_formula_of_the_paper(p: float) -> None:
    weight, target = torch.randn(40, 30).double().requires_grad_(), torch.randn(40, 30).double()
    torch.manual_seed(3)
    mixed = mixout(weight, p, target=target, training=True)
    (gradient,) = torch.autograd.grad(mixed.sum(), weight)
    delivered = round(p * 65536) / 65536
    kept = gradient != 0
    expected = (torch.where(kept, weight, target) - delivered * target) / (1 - delivered)
    torch.testing.assert_close(mixed, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, kept.double() / (1 - delivered), rtol=1e-6, atol=1e-6)
    assert bool(kept.any())


def test_the_mean_over_masks_is_the_weight() -> None:
    weight, target = torch.randn(5).double(), torch.randn(5).double()
    draws = mixout(weight.expand(20_000, 5), 0.5, target=target.expand(20_000, 5), training=True)
    assert_mean(draws, weight, (weight - target) ** 2)
    assert_variance(draws, weight, (weight - target) ** 2)


def test_eval_and_rate_zero_use_the_weight_itself() -> None:
    weight, target = torch.randn(5), torch.randn(5)
    assert mixout(weight, 0.5, target=target, training=False) is weight
    assert mixout(weight, 0.0, target=target, training=True) is weight


def test_before_the_first_step_nothing_changes() -> None:
    layer, x = nn.Linear(4, 3), torch.randn(5, 4)
    assert_same_bits(Mixout(layer, 0.9)(x), layer(x))


def test_the_pre_trained_weights_are_saved_and_not_trained() -> None:
    layer = Mixout(nn.Linear(4, 3), 0.5)
    before = layer.weight.detach().clone()
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    for _ in range(2):
        layer(torch.randn(5, 4)).sum().backward()
        optimiser.step()
    assert_same_bits(layer.target, before)
    assert not torch.equal(layer.weight, before)
    fresh = Mixout(nn.Linear(4, 3), 0.5)
    fresh.load_state_dict(layer.state_dict())
    for twin in (fresh, copy.deepcopy(layer)):
        assert_same_bits(twin.target, before)
        assert_same_bits(twin.weight.detach(), layer.weight.detach())
    assert layer.double().target.dtype == torch.float64


@pytest.mark.parametrize("layer", (nn.Conv2d(2, 3, 3), nn.Embedding(6, 3), nn.Linear(4, 3, bias=False)))
def test_it_wraps_any_layer_with_a_weight(layer: nn.Module) -> None:
    target = torch.randn_like(layer.weight)
    model = nn.Sequential(Mixout(layer, 0.5, target=target))
    rng = thinnet.DropoutRNG(1).bind(model).at(4)
    kept = rng.mask("0", step=4, samples=[0], shape=tuple(layer.weight.shape))[0]
    x = {nn.Conv2d: torch.randn(2, 2, 5, 5), nn.Embedding: torch.tensor([[0, 5]]), nn.Linear: torch.randn(2, 4)}[type(layer)]
    expected = copy.deepcopy(layer)
    expected.weight.data = (torch.where(kept, layer.weight.data, target) - 0.5 * target) / 0.5
    torch.testing.assert_close(model(x), expected(x))


def test_invalid_arguments_are_refused() -> None:
    rule = r"target must have the shape of the weight, \(3, 4\); got \(4, 3\)\."
    with pytest.raises(ValueError, match=rf"^Mixout: {rule}"):
        Mixout(nn.Linear(4, 3), 0.5, torch.zeros(4, 3))
    with pytest.raises(ValueError, match=rf"^mixout: {rule}"):
        mixout(torch.zeros(3, 4), 0.5, target=torch.zeros(4, 3), training=True)
    with pytest.raises(ValueError, match=r"^mixout: p must be a number in \[0, 1\)"):
        mixout(torch.zeros(3), 1.0, target=torch.zeros(3), training=True)
    with pytest.raises(TypeError, match=r"^Mixout: layer must be one of Linear, .*; got LSTM"):
        Mixout(nn.LSTM(2, 2))


def test_the_pre_trained_weights_are_a_copy_however_they_are_given() -> None:
    bare, other = nn.Linear(4, 3), nn.Linear(4, 3)
    layer = Mixout(bare, 0.5, target=bare.weight)
    with torch.device("meta"):
        assigned = Mixout(nn.Linear(4, 3), 0.5)
    assigned.load_state_dict({"target": other.weight, "weight": other.weight, "bias": other.bias}, assign=True)
    for each in (layer, copy.deepcopy(layer), assigned):
        before = each.weight.detach().clone()
        with torch.no_grad():
            each.weight.add_(1)
        assert_same_bits(each.target, before)
        assert not torch.equal(each(torch.ones(2, 4)), each(torch.ones(2, 4)))
