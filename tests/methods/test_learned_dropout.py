"""LearnedDropout: gradients of the rates against exact enumeration, and rates that learn what the data need."""

import itertools
import math

import pytest
import torch
from assertions import assert_mean
from torch import nn

import thinnet
from thinnet.methods.learned.learned_dropout import LearnedDropout, learned_dropout


def exact(loss, x: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """The derivative of the expected loss over all masks by each rate."""
    p = p.clone().requires_grad_()
    total = torch.zeros((), dtype=p.dtype)
    for mask in itertools.product((0.0, 1.0), repeat=len(p)):
        kept = torch.tensor(mask, dtype=p.dtype)
        total = total + (kept * (1 - p) + (1 - kept) * p).prod() * loss(x * kept / (1 - p))
    return torch.autograd.grad(total, p)[0]


def estimated(loss, x: torch.Tensor, p: torch.Tensor, estimator: str, draws: int = 60_000) -> torch.Tensor:
    """One gradient for each draw, `(draws, units)`."""
    rates = p.expand(draws, -1).clone().requires_grad_()
    y = learned_dropout(x.expand(draws, -1), rates, estimator=estimator, training=True)
    return torch.autograd.grad(loss(y).sum(), rates)[0].double().detach()


X, P = torch.tensor([1.5, -2.0, 0.5]), torch.tensor([0.2, 0.5, 0.7])


def linear(y: torch.Tensor) -> torch.Tensor:
    return y @ torch.tensor([1.0, 0.5, -2.0], dtype=y.dtype)


def square(y: torch.Tensor) -> torch.Tensor:
    return (y.sum(-1) - 1.0) ** 2


@pytest.mark.parametrize(("loss", "estimator"), [(linear, "straight_through"), (linear, "reinmax"), (square, "reinmax")])
def test_gradients_of_the_rates_have_the_exact_mean(loss, estimator: str) -> None:
    drawn = estimated(loss, X, P, estimator)
    assert_mean(drawn, exact(loss, X.double(), P.double()), drawn.var(0))


def test_straight_through_is_biased_for_a_square_and_reinmax_is_not() -> None:
    expected = exact(square, X.double(), P.double())
    off = {name: (estimated(square, X, P, name).mean(0) - expected).abs().max() for name in ("straight_through", "reinmax")}
    assert off["straight_through"] > 10 * off["reinmax"]


def test_inputs_that_the_target_needs_get_lower_rates() -> None:
    torch.manual_seed(0)
    x = torch.randn(512, 8)
    y = x[:, :2].sum(1, keepdim=True)
    layer = LearnedDropout(nn.Linear(8, 1), 0.4)
    optimizer = torch.optim.Adam([{"params": [layer.logit], "lr": 0.05}, {"params": layer.layer.parameters(), "lr": 0.05}])
    for _ in range(200):
        optimizer.zero_grad()
        (50 * (layer(x) - y).square().mean() + thinnet.penalty(layer, samples=512)).backward()
        optimizer.step()
    p = layer.learned_p.detach()
    assert p[2:].min() > 10 * p[:2].max()


def test_masks_are_zeros_and_ones_over_the_keep_probability_and_eval_is_the_layer() -> None:
    layer = LearnedDropout(nn.Linear(5, 5, bias=False), 0.25)
    layer.layer.weight.data.copy_(torch.eye(5))
    y = layer(torch.ones(4000, 5))
    assert {round(value, 4) for value in y.unique().tolist()} == {0.0, round(4 / 3, 4)}
    assert torch.equal(layer.eval()(torch.ones(1, 5)), torch.ones(1, 5))


def test_the_penalty_is_the_sum_over_inputs() -> None:
    layer = LearnedDropout(nn.Linear(3, 2), 0.25, length=0.5)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    squares = layer.layer.weight.square().sum().item()
    assert layer.penalty(10).item() == pytest.approx((0.125 * squares / 0.75 - 3 * entropy) / 10, rel=1e-5)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^LearnedDropout: estimator must be"):
        LearnedDropout(nn.Linear(2, 2), estimator="arm")
    with pytest.raises(ValueError, match=r"^LearnedDropout: p must be"):
        LearnedDropout(nn.Linear(2, 2), 1.0)
    with pytest.raises(TypeError, match="layer must be one of Linear"):
        LearnedDropout(nn.Conv2d(2, 2, 1))
