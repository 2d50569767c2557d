"""Methods that add noise of a stated size, and their peers."""

import pytest
import torch
from assertions import assert_mean, assert_same_bits, assert_variance

from thinnet.methods.elementwise.gaussian_noise import GaussianNoise, gaussian_noise
from thinnet.methods.experts.router_jitter import RouterJitter, router_jitter
from thinnet.methods.tokens.neftune import NEFTune, neftune


@pytest.mark.parametrize(
    ("make", "function", "name"),
    [(GaussianNoise, gaussian_noise, "std"), (NEFTune, neftune, "alpha"), (RouterJitter, router_jitter, "eps")],
)
@pytest.mark.parametrize("size", [-0.1, float("nan"), float("inf"), True, "0.5"])
def test_a_size_that_is_none_is_refused(make, function, name: str, size: object) -> None:
    for call in (make, lambda size: function(torch.ones(1, 2, 3), size, training=True)):
        with pytest.raises(ValueError, match=rf": {name} must be .*; got {size!r}\."):
            call(size)


def test_no_size_is_no_noise() -> None:
    x = torch.randn(2, 3, 4)
    for make in (GaussianNoise, NEFTune, RouterJitter):
        assert make(0.0)(x) is x


def test_neftune_of_a_padded_sequence_is_that_of_the_sequence_alone_and_not_in_transformers() -> None:
    neftune_hook = pytest.importorskip("transformers.integrations.neftune").neftune_post_forward_hook
    x, lengths = torch.zeros(4000, 9, 4), torch.full((4000,), 2)
    ours = neftune(x, 5.0, lengths=lengths, training=True)[:, :2]
    alone = neftune(x[:, :2], 5.0, training=True)
    embedding = torch.nn.Embedding(1, 4)
    embedding.neftune_noise_alpha = 5.0
    theirs = neftune_hook(embedding, None, x)[:, :2]
    for y, tokens in ((ours, 2), (alone, 2), (theirs, 9)):
        assert float(y.abs().max()) <= 5 / (tokens * 4) ** 0.5
        variance = torch.full((2, 4), 25 / (tokens * 4) / 3).double()
        assert_mean(y.double(), torch.zeros(2, 4).double(), variance)
        assert_variance(y.double(), torch.zeros(2, 4).double(), variance)


def test_keras_adds_the_same_noise() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        keras = pytest.importorskip("keras")
    x = torch.randn(3).expand(100_000, 3)
    for y in (GaussianNoise(0.3)(x), keras.layers.GaussianNoise(0.3)(x, training=True)):
        y = torch.as_tensor(y).cpu()
        assert_mean(y.double(), x[0].double(), torch.full((3,), 0.09).double())
        assert_variance(y.double(), x[0].double(), torch.full((3,), 0.09).double())


def test_complex_numbers_are_refused_where_the_noise_is_real() -> None:
    with pytest.raises(TypeError, match=r"torch\.view_as_real"):
        GaussianNoise(0.1)(torch.ones(2, dtype=torch.complex64))


def test_router_jitter_is_small_and_exact_in_its_size() -> None:
    y = RouterJitter(0.01)(torch.ones(100_000))
    assert_variance(y[:, None].double(), torch.ones(1).double(), torch.tensor([1e-4 / 3]).double())
    assert_same_bits(RouterJitter(0.01).eval()(y), y)


def test_the_router_of_transformers_changes_what_the_experts_read_and_ours_does_not() -> None:
    switch = pytest.importorskip("transformers.models.switch_transformers.modeling_switch_transformers")
    config = switch.SwitchTransformersConfig(d_model=8, num_experts=4, router_jitter_noise=0.1, expert_capacity=4)
    x = torch.randn(1, 3, 8)
    before = x.clone()
    RouterJitter(0.1)(x)
    assert_same_bits(x, before)
    switch.SwitchTransformersTop1Router(config).train()(x)
    assert not torch.equal(x, before)
    assert bool(((x / before - 1).abs() <= 0.1 + 1e-5).all())
