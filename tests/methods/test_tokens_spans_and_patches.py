"""Token dropout, patch dropout and HiddenCut beyond the invariants."""

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_mean, assert_rate, assert_same_bits
from torch import nn

import thinnet
from thinnet.methods.tokens.hidden_cut import HiddenCut, cut_share, hidden_cut, span
from thinnet.methods.tokens.patch_dropout import PatchDropout, kept_patches, patch_dropout
from thinnet.methods.tokens.token_dropout import token_dropout


def test_token_dropout_drops_like_dropout1d() -> None:
    y = token_dropout(torch.ones(30, 40, 6), 0.25, training=True)
    assert set(y.unique().tolist()) == {0.0, float(torch.tensor(4 / 3))}
    assert bool(((y == 0).all(-1) | (y != 0).all(-1)).all())


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_a_subset_of_the_patches_follows_the_prefix(prefix: int, ordered: bool) -> None:
    x = torch.randn(16, prefix + 49, 8)
    layer = PatchDropout(0.3, prefix, ordered, return_indices=True)
    y, places = layer(x)
    assert y.shape == (16, prefix + 34, 8) and places.shape == (16, prefix + 34)
    assert_same_bits(y, x[torch.arange(16)[:, None], places])
    assert torch.equal(places[:, :prefix], torch.arange(prefix).expand(16, prefix))
    assert all(len(set(row)) == prefix + 34 for row in places.tolist())
    assert bool((places.diff(dim=1) > 0).all()) == ordered
    whole, everything = layer.eval()(x)
    assert whole is x and torch.equal(everything, torch.arange(prefix + 49).expand(16, -1))


def test_every_patch_and_every_pair_is_equally_likely() -> None:
    _, places = patch_dropout(torch.ones(60_000, 6, 1), 0.5, prefix=0, return_indices=True, training=True)
    kept = torch.zeros(60_000, 6).scatter(1, places, 1.0)
    for first in range(6):
        assert_rate(kept[:, first] == 1, 1 / 2)
        for second in range(first):
            assert_rate(kept[:, first] * kept[:, second] == 1, 1 / 5)  # 3 of 6, then 2 of 5


@pytest.mark.parametrize(("patches", "p", "kept"), [(196, 0.5, 98), (10, 0.3, 7), (100, 0.41, 59), (1, 0.9, 1), (7, 0.0, 7)])
def test_the_number_of_patches_is_rounded_to_the_nearest(patches: int, p: float, kept: int) -> None:
    assert kept_patches(patches, p) == kept
    assert patch_dropout(torch.ones(2, 1 + patches, 3), p, training=True).shape == (2, 1 + kept, 3)


@pytest.mark.parametrize("return_indices", [True, False])
def test_patch_dropout_compiles_and_another_rate_is_another_shape(return_indices: bool) -> None:
    model, x = nn.Sequential(PatchDropout(0.5, return_indices=return_indices)), torch.randn(4, 11, 3)
    rng = thinnet.DropoutRNG(1).bind(model)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(3):
        rng.at(step, torch.randperm(100)[:4])
        torch.testing.assert_close(compiled(x), model(x))
    assert counter.frame_count == 1
    model[0].p = 0.2
    torch.testing.assert_close(compiled(x), model(x))


def test_patch_dropout_compiles_for_any_number_of_patches() -> None:
    model = PatchDropout(0.3, return_indices=True)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=True)
    for shape in ((4, 11, 3), (5, 14, 3)):  # 7 of 10, 9 of 13
        x, outcomes = torch.randn(shape), []
        for layer in (compiled, model):
            torch.manual_seed(1)
            leaf = x.clone().requires_grad_()
            y, places = layer(leaf)
            outcomes.append([y, places, *torch.autograd.grad(y.square().sum(), leaf)])
        for one, other in zip(*outcomes, strict=True):
            torch.testing.assert_close(one, other)


def test_patch_dropout_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"^PatchDropout: prefix must be an integer from 0 up; got -1"):
        PatchDropout(0.5, -1)
    with pytest.raises(ValueError, match=r"^PatchDropout: x must be \(N, T, D\) with T > prefix = 4; got shape \(2, 4, 3\)"):
        PatchDropout(0.5, 4)(torch.ones(2, 4, 3))


@pytest.mark.parametrize(("tokens", "p"), [(8, 0.25), (7, 0.5), (5, 0.05), (9, 0.9), (4, 1.0)])
def test_one_span_is_cut_and_every_span_is_equally_likely(tokens: int, p: float) -> None:
    cut = (hidden_cut(torch.ones(40_000, tokens, 2), p, training=True) == 0).all(-1)
    length = span(tokens, p)
    assert bool((cut.sum(1) == length).all())
    assert not length or bool(((cut[:, 1:] & ~cut[:, :-1]).sum(1) + cut[:, 0] == 1).all())
    if 0 < length:
        for first in range(tokens - length + 1):
            assert_rate(cut[:, first : first + length].all(1), 1 / (tokens - length + 1))
    share = cut_share(tokens, p)
    assert_mean(cut.double(), share, share * (1 - share))


def test_a_span_is_cut_in_proportion_to_its_scores() -> None:
    scores = torch.tensor([0.5, 0.0, 0.0, 0.1, 0.9, 0.0])
    layer, x = HiddenCut(1 / 3), torch.ones(60_000, 6, 1)
    cut = layer(x, scores.expand(60_000, 6))[..., 0] == 0
    received = torch.tensor([0.5, 0.0, 0.1, 1.0, 0.9])
    for first, chance in enumerate((received / received.sum()).tolist()):
        assert_rate(cut[:, first : first + 2].all(1), chance)
    assert layer.eval()(x, scores.expand(60_000, 6)) is x


def test_without_scores_every_span_is_equally_likely() -> None:
    cut = hidden_cut(torch.ones(20_000, 5, 1), 0.4, scores=torch.zeros(20_000, 5), training=True)[..., 0] == 0
    for first in range(4):
        assert_rate(cut[:, first : first + 2].all(1), 1 / 4)
    whole = hidden_cut(torch.ones(3, 5, 1), 1.0, scores=torch.rand(3, 5), training=True)
    assert not whole.any()
    none = hidden_cut(torch.ones(3, 5, 1), 0.01, scores=torch.rand(3, 5), training=True)
    assert bool(none.all())


def test_scores_are_one_graph_and_get_no_gradient() -> None:
    model, x, scores = HiddenCut(0.5), torch.randn(4, 8, 3), torch.rand(4, 8, requires_grad=True)
    rng = thinnet.DropoutRNG(1).bind(model)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(4):
        model.p = step / 4
        rng.at(step)
        torch.testing.assert_close(compiled(x, scores), model(x, scores))
    assert counter.frame_count == 1
    assert not model(x, scores).requires_grad


def test_cut_values_do_not_leak() -> None:
    y = hidden_cut(torch.full((8, 6, 2), torch.nan), 0.5, training=True)
    assert int((y == 0).sum()) == 8 * 3 * 2 and int(y.isnan().sum()) == 8 * 3 * 2


def test_hidden_cut_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"^HiddenCut: x must be \(B, T, D\); got shape \(4, 8\)"):
        HiddenCut(0.5)(torch.ones(4, 8))
    with pytest.raises(ValueError, match=r"^hidden_cut: scores must be \(B, T\) = \(4, 8\); got \(4, 2, 8\)"):
        hidden_cut(torch.ones(4, 8, 3), 0.5, scores=torch.ones(4, 2, 8), training=True)
