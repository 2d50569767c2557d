"""Targeted dropout: its candidates, its rate, pruning, and weights that stay unchanged."""

import copy
import pickle

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_mean, assert_rate, assert_same_bits, assert_variance
from torch import nn

import thinnet
from thinnet.methods.weights import targeted_dropout
from thinnet.methods.weights.targeted_dropout import TargetedDropout, candidates
from thinnet.ops import reference

LAYERS = (
    (lambda: nn.Linear(9, 4), (5, 9)),
    (lambda: nn.Linear(9, 4, bias=False), (2, 3, 9)),
    (lambda: nn.Conv1d(4, 4, 3, groups=2), (5, 4, 7)),
    (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), (5, 3, 6, 6)),
    (lambda: nn.Conv3d(2, 4, 2), (5, 2, 3, 3, 3)),
)
each_layer = pytest.mark.parametrize(("make", "shape"), LAYERS)
each_unit = pytest.mark.parametrize("per", ("weight", "unit"))


@pytest.mark.parametrize("targeted", (0.0, 0.3, 0.5, 1.0))
def test_the_smallest_weights_are_candidates(targeted: float) -> None:
    weight = torch.randn(6, 3, 5)
    chosen, rows = candidates(weight, targeted).flatten(1), weight.abs().flatten(1)
    assert chosen.sum(1).tolist() == [int(targeted * 15)] * 6
    for row, of_row in zip(rows, chosen, strict=True):
        assert not of_row.any() or of_row.all() or row[of_row].max() < row[~of_row].min()
    units, norms = candidates(weight, targeted, "unit"), rows.norm(dim=1)
    assert units.shape == (6, 1, 1) and int(units.sum()) == int(targeted * 6)
    assert not units.any() or units.all() or norms[units.flatten()].max() < norms[~units.flatten()].min()


def test_the_number_of_candidates_holds_if_all_weights_are_equal() -> None:
    assert candidates(torch.zeros(3, 8), 0.25).sum(1).tolist() == [2, 2, 2]
    assert candidates(torch.ones(8, 3), 0.25, "unit").flatten().tolist() == [True, True] + [False] * 6


@each_unit
def test_candidates_are_dropped_at_the_rate_and_other_weights_never(per: targeted_dropout.Per) -> None:
    weight, thin = torch.randn(8, 40), targeted_dropout.targeted_dropout
    chosen = candidates(weight, 0.75, per)
    draws = torch.stack([thin(weight, 0.4, targeted=0.75, per=per, training=True) for _ in range(3000)])
    assert bool(((draws == 0) | (draws == weight)).all())
    dropped = draws == 0
    if per == "unit":
        assert bool((dropped == dropped[:, :, :1]).all())
        dropped = dropped[:, :, :1]
    assert not bool(dropped[:, ~chosen].any())
    assert_rate(dropped[:, chosen], 26214 / 65536)
    given = weight.double(), 26214 / 65536
    mean, variance = (fact(*given, targeted=0.75, per=per) for fact in (targeted_dropout.mean, targeted_dropout.variance))
    assert_mean(draws.double(), mean, variance)
    assert_variance(draws.double(), mean, variance)


@each_unit
@each_layer
def test_it_runs_the_layer_with_the_weight_of_the_definition(make, shape: tuple[int, ...], per) -> None:
    layer, x = make().double(), torch.randn(shape).double()
    bare = copy.deepcopy(layer)
    model = nn.Sequential(TargetedDropout(layer, 0.6, targeted=0.7, per=per))
    rng = thinnet.DropoutRNG(11).bind(model)
    rng.at(7, torch.arange(len(x)) + 3)
    of = targeted_dropout._noise_shape(tuple(layer.weight.shape), per=per)
    zero = torch.zeros(1, dtype=torch.int64)
    where = torch.tensor(11), torch.tensor(7), torch.tensor(thinnet.rng.site_number("0")), zero
    u = (reference.unit_bits(*where, torch.Size(of).numel()) / 65536).double().reshape(of)
    weight = targeted_dropout.definition(bare.weight, u, 39322 / 65536, targeted=0.7, per=per)
    expected = torch.func.functional_call(bare, {"weight": weight}, (x,))
    torch.testing.assert_close(model(x), expected)
    ours = torch.autograd.grad(model(x).square().sum(), list(layer.parameters()))
    torch.testing.assert_close(ours, torch.autograd.grad(expected.square().sum(), list(bare.parameters())))
    assert bool((ours[0][(weight == 0)] == 0).all())


@each_unit
@each_layer
def test_eval_runs_the_layer_or_the_pruned_one_and_weights_stay_unchanged(make, shape, per) -> None:
    layer, x = make(), torch.randn(shape)
    before = layer.weight.detach().clone()
    site = TargetedDropout(layer, 0.6, targeted=0.7, per=per)
    pruning = TargetedDropout(layer, 0.6, targeted=0.7, per=per, prune_in_eval=True)
    site(x).sum().backward()
    assert_same_bits(site.eval()(x), layer(x))
    pruned = pruning.eval().prune()
    assert type(pruned) is type(layer) and pruned.weight is not layer.weight
    assert_same_bits(pruning(x), pruned(x))
    assert_same_bits(pruned.weight == 0, candidates(before, 0.7, per).expand_as(before).contiguous())
    assert_same_bits(layer.weight.detach(), before)


def test_rates_zero_and_one_are_exact() -> None:
    x = torch.randn(3, 9)
    site = TargetedDropout(nn.Linear(9, 4), 0.0)
    assert_same_bits(site(x), site.layer(x))
    assert targeted_dropout.targeted_dropout(site.weight, 0.0, training=True) is site.weight
    assert targeted_dropout.targeted_dropout(site.weight, 0.5, training=False) is site.weight
    site.p = 1.0
    assert_same_bits(site(x), site.prune()(x))


def test_a_batch_has_one_mask_for_any_samples() -> None:
    model = nn.Sequential(TargetedDropout(nn.Linear(9, 4), 0.5))
    rng = thinnet.DropoutRNG(2).bind(model)
    x, ids = torch.randn(6, 9), torch.randperm(50)[:6]
    whole = rng.at(3, ids) and model(x)
    torch.testing.assert_close(torch.cat([rng.at(3, ids[i : i + 1]) and model(x[i : i + 1]) for i in range(6)]), whole)
    assert not torch.equal(rng.at(4, ids) and model(x), whole)


def test_one_compiled_graph_serves_all_rates_of_a_schedule() -> None:
    model = nn.Sequential(TargetedDropout(nn.Linear(9, 4), 0.0, targeted=0.5))
    rng = thinnet.DropoutRNG(2, schedules={"0": thinnet.schedules.Linear(0.0, 0.6, steps=8)}).bind(model)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(10):
        rng.at(step)
        x = torch.randn(5, 9)
        torch.testing.assert_close(compiled(x), model(x))
    assert counter.frame_count == 1 and model[0].p == 0.6


def test_it_has_the_state_dict_of_the_layer_and_copies_draw_the_same_masks() -> None:
    layer, site = nn.Linear(9, 4), TargetedDropout(nn.Linear(9, 4), 0.5)
    assert list(site.state_dict()) == list(layer.state_dict())
    site.load_state_dict(layer.state_dict())
    nn.Linear(9, 4).load_state_dict(site.state_dict())
    x = torch.randn(3, 9)
    for twin in (copy.deepcopy(site), pickle.loads(pickle.dumps(site))):
        torch.manual_seed(1)
        expected = site(x)
        torch.manual_seed(1)
        assert_same_bits(twin(x), expected)


def test_the_functional_form_draws_the_masks_of_the_class() -> None:
    site = TargetedDropout(nn.Linear(9, 4, bias=False), 0.5)
    torch.manual_seed(1)
    weight = site(torch.eye(9)).detach().T
    torch.manual_seed(1)
    expected = targeted_dropout.targeted_dropout(site.weight.detach(), 0.5, training=True)
    torch.testing.assert_close(weight, expected)
    generator = torch.Generator().manual_seed(1)
    assert_same_bits(targeted_dropout.targeted_dropout(site.weight.detach(), 0.5, training=True, generator=generator), expected)


def test_invalid_arguments_are_refused() -> None:
    for options, match in (
        (dict(p=1.5), "TargetedDropout: p must be a number"),
        (dict(targeted=1.5), "targeted must be in .* got 1.5"),
        (dict(targeted=float("nan")), "targeted must be"),
        (dict(targeted=True), "targeted must be"),
        (dict(per="row"), "per must be 'weight' or 'unit'; got 'row'"),
    ):
        with pytest.raises(ValueError, match=match):
            TargetedDropout(nn.Linear(2, 2), **options)
    with pytest.raises(ValueError, match="per must be"):
        targeted_dropout.targeted_dropout(torch.ones(2, 2), 0.5, per="row", training=True)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be one of Linear, Conv1d, Conv2d, Conv3d; got LSTM"):
        TargetedDropout(nn.LSTM(2, 2))
    with pytest.raises(ValueError, match="remove_parametrizations"):
        TargetedDropout(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    with pytest.raises(TypeError, match="training"):
        targeted_dropout.targeted_dropout(torch.ones(2, 2), 0.5)  # type: ignore[call-arg]
