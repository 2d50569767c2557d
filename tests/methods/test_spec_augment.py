"""SpecAugment, whose spans determine how much is cut, and its peers: transformers and torchaudio."""

import itertools

import pytest
import torch
from assertions import assert_mean, assert_same_bits, assert_variance

import thinnet
from thinnet.methods.spatial.spec_augment import FACTS, SpecAugment, cut_share, spec_augment
from thinnet.methods.tokens.span_masking import SpanMasking
from thinnet.ops import reference

SETTINGS = dict(time_masks=2, time_width=7, time_share=0.5, frequency_masks=1, frequency_width=3)


@pytest.mark.parametrize(("size", "widest"), [(1, 0), (5, 2), (4, 9), (7, 7)])
def test_the_share_counts_every_span_that_can_be_drawn(size: int, widest: int) -> None:
    counted = torch.zeros(size, dtype=torch.float64)
    for width in range(min(widest, size) + 1):
        for first in range(size - width + 1):
            counted[first : first + width] += 1 / (min(widest, size) + 1) / (size - width + 1)
    torch.testing.assert_close(cut_share(size, 1, widest), counted)
    torch.testing.assert_close(cut_share(size, 3, widest), 1 - (1 - counted) ** 3)


def test_mean_variance_and_share_are_the_stated_ones() -> None:
    x, layer = torch.randn(6, 12), SpecAugment(**SETTINGS)
    y = layer(x.expand(30_000, 6, 12)).double()
    mean, variance = FACTS.mean(x.double(), **SETTINGS), FACTS.variance(x.double(), **SETTINGS)
    assert_mean(y, mean, variance)
    assert_variance(y, mean, variance)
    share = (y == 0).double().flatten(1).mean(1, keepdim=True)
    assert_mean(share, torch.tensor([layer.expected_drop(6, 12)]).double(), share.var(0))


def test_output_and_gradient_equal_the_paper() -> None:
    ids, x = torch.arange(6) * 3 + 5, torch.randn(6, 2, 5, 14, dtype=torch.float64, requires_grad=True)
    model = torch.nn.Sequential(SpecAugment(**SETTINGS))
    thinnet.DropoutRNG(11).bind(model).at(7, ids)
    words = reference.noise(torch.tensor(11), torch.tensor(7), torch.tensor(thinnet.rng.site_number("0")), ids, 6)
    ours, theirs = model(x), FACTS.definition(x, (1 + reference.uniform(words)) / 2, **SETTINGS)
    assert_same_bits(ours, theirs)
    weight = torch.randn_like(x)
    torch.testing.assert_close(*(torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, theirs)))


def test_a_padded_sequence_has_the_spans_of_the_sequence_alone() -> None:
    model = torch.nn.Sequential(layer := SpecAugment(time_width=9, time_share=0.4, frequency_masks=0))
    rng, lengths = thinnet.DropoutRNG(1).bind(model), torch.tensor([20, 5, 1, 13])
    x = torch.ones(4, 8, 20)
    rng.at(3, torch.arange(4))
    whole = layer(x, lengths)
    for sample, length in enumerate(lengths.tolist()):
        rng.at(3, torch.tensor([sample]))
        assert_same_bits(whole[sample : sample + 1, :, :length].contiguous(), model(x[:1, :, :length].contiguous()))
        assert bool((whole[sample, :, length:].amax(0) == 1).all())


def test_eval_is_the_identity_and_the_functional_form_draws_like_the_module() -> None:
    x, layer = torch.randn(20, 8, 30), SpecAugment(**SETTINGS)
    torch.manual_seed(3)
    first = layer(x)
    assert_same_bits(spec_augment(x, **SETTINGS, training=True, generator=torch.Generator().manual_seed(3)), first)
    assert layer.eval()(x) is x and spec_augment(x, training=False) is x


@pytest.mark.parametrize(
    ("name", "value"), [("time_masks", -1), ("frequency_width", 1.5), ("time_share", 2), ("time_width", True)]
)
def test_a_bad_policy_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^SpecAugment: {name} must be .*; got {value}"):
        SpecAugment(**{name: value})
    with pytest.raises(ValueError, match=f"^spec_augment: {name} must be"):
        spec_augment(torch.ones(1, 2, 2), **{name: value}, training=True)


def test_bad_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x must be \(B, \.\.\., F, T\)"):
        SpecAugment()(torch.ones(3, 4))
    with pytest.raises(ValueError, match=r"lengths must be \(B,\) = \(2,\)"):
        SpecAugment()(torch.ones(2, 3, 4), torch.ones(3))


def test_the_masked_share_of_transformers_is_below_its_rate_and_ours_is_the_rate() -> None:
    wav2vec2 = pytest.importorskip("transformers.models.wav2vec2.modeling_wav2vec2")
    theirs = torch.as_tensor(wav2vec2._compute_mask_indices((200, 1000), 0.65, 10)).double().mean(1, keepdim=True)
    assert 0.45 < float(theirs.mean()) < 0.5
    for p, steps in itertools.product((0.05, 0.49, 0.65), (4, 1000)):
        share = (SpanMasking(p, length=10)(torch.ones(200_000 // steps, steps, 1)) == 0).double().mean((1, 2))[:, None]
        assert_mean(share, torch.tensor([p]).double(), share.var(0))
    with pytest.raises(ValueError, match="has to be smaller than"):
        wav2vec2._compute_mask_indices((2, 4), 0.65, 10)


def test_a_padded_sequence_keeps_its_masked_steps() -> None:
    model, x = torch.nn.Sequential(SpanMasking(0.4, length=3)), torch.ones(2, 30, 1)
    rng = thinnet.DropoutRNG(1).bind(model)
    rng.at(3, torch.arange(2))
    assert_same_bits(model(x)[:, :7].contiguous(), model(x[:, :7].contiguous()))


def test_a_learned_vector_replaces_masked_steps() -> None:
    layer = SpanMasking(1.0, length=2, features=3)
    y = layer(torch.randn(4, 5, 3))
    assert torch.equal(y, layer.fill.expand(4, 5, 3))
    y.sum().backward()
    assert layer.fill.grad.tolist() == [20, 20, 20]
    assert not torch.equal(layer.eval()(torch.zeros(1, 5, 3)), y[:1])


def test_torchaudio_masks_the_same_share() -> None:
    transforms = pytest.importorskip("torchaudio.transforms")
    theirs = transforms.TimeMasking(12, iid_masks=True)(torch.ones(20_000, 1, 4, 30)) == 0
    ours = SpecAugment(time_masks=1, time_width=11, frequency_masks=0)(torch.ones(20_000, 1, 4, 30)) == 0
    assert abs(float(theirs.double().mean() - ours.double().mean())) < 0.01
