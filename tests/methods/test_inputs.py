"""Methods that drop inputs: conditions, columns of a table, modalities."""

import itertools

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_mean, assert_rate, assert_same_bits
from torch import nn

import thinnet
from thinnet.methods import at_least
from thinnet.methods.inputs.condition_dropout import ConditionDropout, condition_dropout
from thinnet.methods.inputs.feature_dropout import FeatureDropout
from thinnet.methods.inputs.modality_dropout import FACTS, ModalityDropout, modality_dropout
from thinnet.ops import reference

# at least k units


@pytest.mark.parametrize(("units", "p", "least"), [(2, 0.5, 1), (3, 0.3, 1), (4, 0.6, 2), (3, 1.0, 2), (3, 0.0, 1)])
def test_every_mask_has_its_exact_conditional_probability(units: int, p: float, least: int) -> None:
    masks = [mask for mask in itertools.product((0, 1), repeat=units) if sum(mask) >= least]
    chances = torch.tensor([p ** (units - sum(m)) * (1 - p) ** sum(m) for m in masks], dtype=torch.float64)
    if p == 1:  # the limit
        chances = torch.tensor([float(sum(m) == least) for m in masks], dtype=torch.float64)
    chances = chances / chances.sum()
    kept = at_least.kept(torch.rand(200_000, units + 1), p, least)
    for mask, chance in zip(masks, chances.tolist(), strict=True):
        assert_rate((kept == torch.tensor(mask, dtype=torch.bool)).all(1), chance)
    dropped = 1 - sum(chance * sum(mask) for mask, chance in zip(masks, chances.tolist(), strict=True)) / units
    assert at_least.drop_rate(units, p, least) == pytest.approx(dropped, abs=1e-12)


# ModalityDropout


def test_one_compiled_graph_serves_all_numbers_of_samples() -> None:
    counter = torch._dynamo.testing.CompileCounter()
    layer = torch.compile(ModalityDropout(0.5), backend=counter, dynamic=True, fullgraph=True)
    for samples in (4, 5, 7):
        layer(torch.ones(samples, 3), torch.ones(samples, 2, 2))
    assert counter.frame_count == 1


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("inputs", [2, 3])
def test_one_input_always_stays_and_the_others_at_the_stated_rate(p: float, inputs: int) -> None:
    ys = ModalityDropout(p)(*[torch.ones(20_000, 2) for _ in range(inputs)])
    dropped = torch.stack([y == 0 for y in ys])
    assert bool((dropped[..., 0] == dropped[..., 1]).all()) and not bool(dropped.all(0).any())
    for one in dropped:
        assert_rate(one[:, 0], FACTS.expected_drop(p, inputs))
    assert FACTS.expected_drop(p, inputs) == pytest.approx((p - p**inputs) / (1 - p**inputs) if p < 1 else 1 - 1 / inputs)


def test_modalities_equal_the_definition() -> None:
    ids, inputs = torch.arange(9) * 3 + 5, (torch.randn(9, 4), torch.randn(9, 2, 3), torch.randn(9))
    layer = ModalityDropout(0.5)
    thinnet.DropoutRNG(11).bind(layer).at(7, ids)
    words = reference.noise(torch.tensor(11), torch.tensor(7), torch.tensor(thinnet.rng.site_number(layer.name)), ids, 4)
    for y, expected in zip(layer(*inputs), FACTS.definition(inputs, (1 + reference.uniform(words)) / 2, 0.5), strict=True):
        assert_same_bits(y, expected)
    assert layer.eval()(*inputs) == inputs


def test_modalities_are_refused_that_count_different_samples() -> None:
    for inputs in ((torch.ones(2),), (torch.ones(2), torch.ones(3)), (torch.ones(2), torch.ones(()))):
        with pytest.raises(ValueError, match=r"^ModalityDropout: inputs must be at least two tensors"):
            ModalityDropout()(*inputs)
        with pytest.raises(ValueError, match=r"^modality_dropout: inputs must be"):
            modality_dropout(inputs, training=True)
    with pytest.raises(TypeError, match=r"Call x.float"):
        ModalityDropout()(torch.ones(2), torch.ones(2, dtype=torch.int64))


# ConditionDropout


def test_labels_become_the_null_class() -> None:
    labels = torch.arange(10_000) % 10
    layer = ConditionDropout(0.25, null=10)
    assert_rate(layer(labels) == 10, 0.25)
    assert torch.equal(layer.unconditional(labels), torch.full_like(labels, 10)) and layer.eval()(labels) is labels
    with pytest.raises(TypeError, match=r"Call x.float"):
        ConditionDropout(0.25)(labels)
    with pytest.raises(TypeError, match=r"null must be a number or a tensor; got str"):
        ConditionDropout(0.25, null="none")


def test_a_null_condition_is_learned_from_the_dropped_samples() -> None:
    layer = ConditionDropout(0.5, null=nn.Parameter(torch.zeros(3)))
    x = torch.randn(50, 2, 3)
    y = layer(x)
    y.sum().backward()
    dropped = int((y == 0).all(2).all(1).sum())
    assert layer.null.grad.tolist() == [2 * dropped] * 3 and 0 < dropped < 50
    assert layer.unconditional(x).shape == x.shape and condition_dropout(x, training=False) is x


# FeatureDropout


def test_a_column_is_dropped_whole_and_infinite_values_do_not_leak() -> None:
    y = FeatureDropout(0.5)(torch.full((30, 2, 64), torch.inf))
    dropped = (y == 0).flatten(0, 1)
    assert bool((dropped == dropped[:1]).all()) and not y.isnan().any()
    assert 0 < int(dropped[0].sum()) < 64


def test_torch_geometric_masks_the_same_columns_and_does_not_scale() -> None:
    utils = pytest.importorskip("torch_geometric.utils")
    x = torch.ones(3, 200_000)
    theirs, ours = utils.mask_feature(x, 0.25, mode="col")[0], FeatureDropout(0.25)(x)
    for y in (theirs, ours):
        assert bool((y == y[:1]).all())
        assert_rate(y[0] == 0, 0.25)
    assert_mean(ours[0, :, None].double(), torch.ones(1).double(), torch.tensor([1 / 3]).double())
    assert theirs.max() == 1 and ours.max() == pytest.approx(4 / 3)
