"""Names: binding, places, state; and that a bound model and its copies go on as they should."""

import copy
import io
import pickle

import pytest
import torch
from assertions import assert_same_bits
from torch import nn

import thinnet


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 40), thinnet.nn.Dropout(0.5), nn.ReLU(), nn.Sequential(thinnet.nn.Dropout(0.2)))


def test_masks_can_be_named_without_the_model() -> None:
    model, x, ids = network(), torch.randn(4, 6), torch.tensor([4711, 3, 99, 2**32 - 1])
    rng = thinnet.DropoutRNG(seed=2**63 + 9).bind(model).at(200, ids)
    hidden = model[1](model[0](x))
    mask = rng.mask("1", step=200, samples=ids, shape=(40,))
    assert mask.dtype == torch.bool and mask.shape == (4, 40)
    assert torch.equal(hidden != 0, mask)
    assert torch.equal(rng.mask("1", step=200, samples=[4711], shape=(40,))[0], mask[0])
    with pytest.raises(KeyError, match=r"site must be one of \['1', '3.0'\]; got 'head'"):
        rng.mask("head", step=0, samples=[0], shape=(1,))


def test_channels_and_rows() -> None:
    layer = thinnet.nn.Dropout2d(0.5)
    rng = thinnet.DropoutRNG(1).bind(layer).at(3, samples=10)
    kept = layer(torch.ones(5, 8, 3, 3)) != 0
    mask = rng.mask("", step=3, samples=range(10, 15), shape=(8, 1, 1))
    assert torch.equal(kept, mask.expand_as(kept))
    rng.at(3)
    assert torch.equal(layer(torch.ones(1, 8, 3, 3))[0, :, 0, 0] != 0, rng.mask("", step=3, samples=[0], shape=(8,))[0])


def test_sites_steps_seeds_and_samples_differ() -> None:
    def kept(seed: int = 0, step: int = 0, sample: int = 0, site: str = "1") -> tuple[bool, ...]:
        rng = thinnet.DropoutRNG(seed).bind(network_of_halves())
        return tuple(rng.mask(site, step=step, samples=[sample], shape=(64,))[0].tolist())

    masks = {kept(), kept(seed=1), kept(step=1), kept(sample=1), kept(site="3.0"), kept(seed=1 << 32)}
    assert len(masks) == 6


def network_of_halves() -> nn.Module:
    model = network()
    model[3][0].p = 0.5
    return model


def test_copies_and_pickles_stay_bound_and_go_their_own_way() -> None:
    model, x = network(), torch.randn(4, 6)
    rng = thinnet.DropoutRNG(3).bind(model).at(5, samples=[3, 1, 4, 1])
    expected = model(x)
    stored = io.BytesIO()
    torch.save(model, stored)
    stored.seek(0)
    twins = (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(stored, weights_only=False))
    for twin in twins:
        assert_same_bits(twin(x), expected)
        assert twin[1].context is twin[3][0].context is not model[1].context
    rng.at(6)
    assert_same_bits(twins[0](x), expected)
    assert not torch.equal(model(x), expected)


def test_unbinding_gives_the_plain_model_back() -> None:
    model, x = network(), torch.randn(4, 6)
    torch.manual_seed(1)
    expected = model(x)
    thinnet.DropoutRNG(3).bind(model).unbind()
    torch.manual_seed(1)
    assert_same_bits(model(x), expected)


def test_state_goes_on_where_it_was() -> None:
    model, x = network(), torch.randn(4, 6)
    rng = thinnet.DropoutRNG(3).bind(model)
    for _ in range(4):
        rng.advance()
    state = pickle.loads(pickle.dumps(rng.state_dict()))
    expected = rng.advance() and model(x)
    rng.unbind()
    again = thinnet.DropoutRNG().bind(model)
    again.load_state_dict(state)
    assert (again.seed, again.step) == (3, 3)
    assert_same_bits(again.advance() and model(x), expected)


def test_state_of_another_model_is_refused_name_by_name() -> None:
    rng = thinnet.DropoutRNG(3).bind(network())
    rng.at(9)
    state = rng.state_dict()
    other = nn.Sequential(nn.Linear(6, 40), thinnet.nn.Dropout(0.4), thinnet.nn.Dropout(0.2))
    theirs = thinnet.DropoutRNG(1).bind(other)
    with pytest.raises(
        ValueError, match=r"'1' has rate 0.4, saved 0.5; '2' is here but not saved; '3.0' is saved but not here"
    ):
        theirs.load_state_dict(state)
    assert (theirs.seed, theirs.step) == (1, None)


@pytest.mark.parametrize("seed", [-1, 1 << 64, 0.5, True, None])
def test_bad_seeds(seed: object) -> None:
    with pytest.raises(ValueError, match="seed must be an integer"):
        thinnet.DropoutRNG(seed)


@pytest.mark.parametrize("step", [-1, 1 << 32, 0.5, True, None])
def test_bad_steps(step: object) -> None:
    with pytest.raises(ValueError, match="step must be an integer"):
        thinnet.DropoutRNG().bind(network()).at(step)


@pytest.mark.parametrize("samples", [[-1], [1 << 32], -1, 1 << 32, [0.5], [[1]], [True], torch.zeros(2, 2)])
def test_bad_samples(samples: object) -> None:
    rng = thinnet.DropoutRNG().bind(network()).at(3)
    with pytest.raises(ValueError, match="samples must be integers"):
        rng.at(4, samples)
    assert rng.step == 3


def test_a_batch_that_is_not_where_it_should_be() -> None:
    layer = thinnet.nn.Dropout(0.5)
    thinnet.DropoutRNG().bind(layer).at(0, samples=[1, 2, 3])
    with pytest.raises(ValueError, match=r"axis 0 of x must count the samples .* got x of shape \(7, 3\) and 3 samples"):
        layer(torch.ones(7, 3))


def test_forgetting_at_and_binding_wrongly() -> None:
    model = network()
    rng = thinnet.DropoutRNG().bind(model)
    with pytest.raises(RuntimeError, match=r"site '1': its coins have no step yet. Call rng.at"):
        model(torch.randn(4, 6))
    with pytest.raises(ValueError, match="site '1' is bound already"):
        thinnet.DropoutRNG().bind(model)
    with pytest.raises(ValueError, match="the model has no site"):
        thinnet.DropoutRNG().bind(nn.Linear(3, 3))
    rng.unbind()
    model(torch.randn(4, 6))


def test_two_names_of_one_number_are_refused() -> None:
    model = nn.Module()
    for name in ("plumless", "buckeroo"):  # a pair whose CRC-32 is the same
        model.add_module(name, thinnet.nn.Dropout(0.5))
    with pytest.raises(ValueError, match="'plumless' and 'buckeroo' have the same number"):
        thinnet.DropoutRNG().bind(model)
    assert model.plumless.context is None


def test_a_captured_graph_reads_the_step_of_its_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph reads the same memory at each replay; what no graph reads is still replaced and never written to."""
    layer = thinnet.nn.Dropout(0.5)
    rng = thinnet.DropoutRNG(2**64 - 1).bind(layer).at(1, samples=[3, 5])
    context, device = rng.context, torch.device("cpu")
    with monkeypatch.context() as patch:
        patch.setattr("thinnet.rng.context.capturing", lambda device: True)
        pair = context.tensors(device)
        rng.at(2, samples=[1, 2, 3])
        triple = context.tensors(device)
        rng.at(3, samples=[7, 8])
        assert context.tensors(device) is pair
    eager = context.tensors(device)
    rng.at(4, samples=[9, 10])
    assert [tensor.tolist() for tensor in pair] == [-1, 4, [9, 10]]
    assert [tensor.tolist() for tensor in triple] == [-1, 4, [1, 2, 3]]
    assert [tensor.tolist() for tensor in eager] == [-1, 3, [7, 8]]


def test_a_captured_graph_reads_the_rate_of_its_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, read = thinnet.nn.Dropout(0.0), []
    with monkeypatch.context() as patch:
        patch.setattr("thinnet.rng.context.capturing", lambda device: True)
        patch.setattr("thinnet.ops.apply_noise", lambda x, rate, seed, **where: read.append(rate))
        layer(torch.ones(3))
        layer.p = 0.25
        layer(torch.ones(3))
        layer.p = 0.5
    assert read[0] is read[1] and read[0].item() == 32768
    assert layer.rate is not read[0] and layer.rate.item() == 32768
