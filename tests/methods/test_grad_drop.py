"""GradDrop: it changes gradients and no output."""

import pytest
import torch
from assertions import assert_keeps_nothing, assert_mean, assert_same_bits, assert_variance

import thinnet
from thinnet.methods.losses.grad_drop import FACTS, GradDrop, grad_drop
from thinnet.ops import reference

SLOPES = torch.tensor([[2.0, 1.0, -1.0, 0.0], [-1.0, 3.0, -2.0, 0.0], [0.5, 0.0, 0.0, 0.0]])


def gradient(layer: GradDrop, rows: int) -> torch.Tensor:
    """The gradient of an activation that three losses share, each with one slope per element."""
    x = torch.zeros(rows, 4, requires_grad=True)
    copies = layer(x)
    sum((copy * slope).sum() for copy, slope in zip(copies, SLOPES, strict=True)).backward()
    return x.grad


def test_the_mean_is_the_sum_and_the_variance_the_product_of_both_signs() -> None:
    drawn = gradient(GradDrop(3), 50_000).double()
    mean, variance = FACTS.mean(SLOPES).double(), FACTS.variance(SLOPES).double()
    assert mean.tolist() == [1.5, 4, -3, 0] and variance.tolist() == [2.5, 0, 0, 0]
    assert_mean(drawn, mean, variance)
    assert_variance(drawn, mean, variance)
    assert {*drawn[:, 0].tolist()} == {2.5, -1.0}


def test_gradients_follow_the_address_of_the_forward_pass() -> None:
    ids, layer = torch.arange(6) * 3 + 5, GradDrop(3)
    rng = thinnet.DropoutRNG(11).bind(layer)
    rng.at(7, ids)
    where = torch.tensor(11), torch.tensor(7), torch.tensor(thinnet.rng.site_number(layer.name)), ids
    u = (1 + reference.uniform(reference.noise(*where, 4))) / 2
    expected = FACTS.definition(SLOPES[:, None].expand(3, 6, 4), u)
    assert_same_bits(gradient(layer, 6), expected)
    rng.at(7, ids[2:4])
    assert_same_bits(gradient(layer, 2), expected[2:4])


def test_outputs_are_copies_and_little_is_kept() -> None:
    x, layer = torch.randn(8, 4, requires_grad=True), GradDrop(2)
    one, other = layer(x)
    assert_same_bits(one, x.detach() + 0)
    assert_same_bits(other, x.detach() + 0)
    assert_keeps_nothing(lambda: layer(x)[0], x, most=64 + 8 * 4 * 4)  # and the second copy
    assert layer.eval()(x) == (x, x) and grad_drop(x, 2, training=False) == (x, x)


def test_the_functional_form_draws_like_the_module() -> None:
    drawn = []
    for call in (GradDrop(3), lambda x: grad_drop(x, 3, training=True)):
        torch.manual_seed(5)
        drawn.append(gradient(call, 40))
    assert_same_bits(*drawn)


@pytest.mark.parametrize("losses", [1, 0, 2.0, True])
def test_one_loss_is_refused(losses: object) -> None:
    with pytest.raises(ValueError, match=r"^GradDrop: losses must be an integer from 2 up"):
        GradDrop(losses)
    with pytest.raises(ValueError, match=r"^grad_drop: losses must be"):
        grad_drop(torch.ones(2), losses, training=True)
