"""TokenBypass and QuantNoise: what a layer computes, and what stays as it is."""

import pytest
import torch
from assertions import assert_mean, assert_same_bits, assert_variance
from torch import nn

from thinnet.methods.residual.token_bypass import TokenBypass, token_bypass
from thinnet.methods.weights.quant_noise import QuantNoise, quantised


class Counting(nn.Module):
    """A layer that counts the tokens it gets."""

    tokens = 0

    def forward(self, x: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
        self.tokens += x.shape[0] * x.shape[1]
        return x + 1 if positions is None else x + positions[..., None]


@pytest.mark.parametrize(("p", "tokens"), [(0.5, 2 * 6), (0.75, 2 * 4), (0.99, 2 * 3), (0.0, 2 * 10)])
def test_the_layer_computes_the_kept_tokens_alone(p: float, tokens: int) -> None:
    layer, x = Counting(), torch.randn(2, 10, 3)
    y = TokenBypass(layer, p, prefix=2)(x)
    assert layer.tokens == tokens
    changed = (y != x).all(2)
    assert changed.sum() == tokens and bool(changed[:, :2].all())
    torch.testing.assert_close(y[changed], x[changed] + 1)
    assert_same_bits(y[~changed], x[~changed])


def test_arguments_by_token_are_selected_too() -> None:
    positions = torch.arange(10.0).expand(2, 10)
    y = TokenBypass(Counting(), 0.5)(torch.zeros(2, 10, 3), by_token={"positions": positions})
    assert bool(((y == positions[..., None]) | (y == 0)).all()) and (y != 0).any()
    with pytest.raises(ValueError, match=r"^TokenBypass: positions must be \(B, T, \.\.\.\) = \(2, 10\); got \(3,\)"):
        TokenBypass(Counting(), 0.5)(torch.zeros(2, 10, 3), by_token={"positions": torch.ones(3)})


def test_layers_that_change_the_shape_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^token_bypass: layer must return a tensor of .*; got \(1, 5, 2\)"):
        token_bypass(torch.ones(1, 10, 4), 0.5, layer=nn.Linear(4, 2), training=True)
    with pytest.raises(TypeError, match=r"got tuple"):
        token_bypass(torch.ones(1, 10, 4), 0.5, layer=lambda x: (x,), training=True)


def test_weights_are_quantised_in_blocks_and_never_written() -> None:
    layer = nn.Linear(10, 3)
    before = layer.weight.detach().clone()
    noisy = QuantNoise(layer, 0.4, block=4, bits=3)
    drawn = torch.stack([noisy(torch.eye(10)) - layer.bias for _ in range(4000)]).detach().mT
    assert_same_bits(layer.weight.detach(), before)
    change = quantised(before, 3) - before
    assert_mean(drawn.double(), (before + 0.4 * change).double(), (0.24 * change.square()).double())
    assert_variance(drawn.double(), (before + 0.4 * change).double(), (0.24 * change.square()).double())
    moved = (drawn - before).abs() > 1e-6
    for block in (slice(0, 4), slice(4, 8), slice(8, 10)):
        each = moved[:, :, block] | (change[:, block].abs() < 1e-6)
        assert bool((each.all(2) | ~moved[:, :, block].any(2)).all())
    assert quantised(before, 3).unique().numel() <= 8


def test_the_gradient_passes_straight_through() -> None:
    layer = QuantNoise(nn.Linear(6, 2), 1.0, bits=2)
    x = torch.randn(5, 6)
    layer(x).sum().backward()
    torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(2, 6))


def test_embeddings_and_bad_settings() -> None:
    layer = QuantNoise(nn.Embedding(9, 8), 1.0, bits=1)
    assert layer(torch.arange(9)).unique().numel() == 2
    assert layer.eval()(torch.arange(9)).unique().numel() > 2
    for settings, rule in ((dict(block=0), "block must be a positive integer"), (dict(bits=17), "bits must be an integer")):
        with pytest.raises(ValueError, match=rf"^QuantNoise: {rule}"):
            QuantNoise(nn.Linear(2, 2), **settings)
