"""Exact averages over the sub-networks of small models: an enumeration by hand, and identities of one layer."""

import math
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from assertions import FALSE_ALARM
from scipy import stats
from torch import Tensor, nn

import thinnet
from thinnet.inference.enumeration import enumeration
from thinnet.inference.enumeration.enumeration import exact
from thinnet.inference.enumeration.subnetworks import Subnetworks


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
    return nn.Sequential(*layers).double()


class Functional(nn.Module):
    """Dropout as functions: one in a branch on the mode, one with the mode as an argument."""

    def __init__(self, first: nn.Linear, last: nn.Linear) -> None:
        super().__init__()
        self.first, self.last = first, last

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = F.dropout(x, 0.25)
        return self.last(F.dropout(F.relu(self.first(x)), 0.5, self.training))


class ByHand(nn.Module):
    """A mask made by hand."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > 0.5) if self.training else x


class Twice(nn.Module):
    """One dropout module, used before and after a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.layer = nn.Dropout(0.5), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.layer(self.drop(x)))


@pytest.mark.parametrize("p", [0.125, 0.5, 0.75])
@pytest.mark.parametrize("hidden", [False, True])
def test_for_one_softmax_layer_the_geometric_mean_is_weight_scaling(p: float, hidden: bool) -> None:
    before = (nn.Linear(5, 8), nn.Tanh()) if hidden else ()
    model = network(*before, nn.Dropout(p), nn.Linear(8 if hidden else 5, 3))
    found = exact(model, drawn(7, 5), n=2)
    assert found.geometric is not None
    torch.testing.assert_close(found.geometric, found.weight_scaled, rtol=0, atol=1e-12)
    assert float((found.mean - found.weight_scaled).abs().max()) > 1e-3  # the arithmetic mean differs


def test_for_a_linear_network_the_arithmetic_mean_is_weight_scaling() -> None:
    model = network(nn.Dropout(0.25), nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 2))
    found = exact(model, drawn(5, 4), n=2, kind="values")
    torch.testing.assert_close(found.mean, found.weight_scaled, rtol=0, atol=1e-12)
    assert found.geometric is None


def test_the_averages_equal_an_enumeration_by_hand() -> None:
    model, x = network(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.25), nn.Linear(4, 3)), drawn(5, 3)
    first: Any = model[0]
    last: Any = model[3]
    outputs, weights = [], []
    for kept in product((0.0, 1.0), repeat=4):
        mask = torch.tensor(kept, dtype=torch.float64)
        outputs.append(F.relu(x @ first.weight.T + first.bias) * mask / 0.75 @ last.weight.T + last.bias)
        weights.append(math.prod(0.75 if k else 0.25 for k in kept))
    p, w = torch.stack(outputs).softmax(-1), torch.tensor(weights, dtype=torch.float64)[:, None, None]
    mean = (p * w).sum(0)
    found = exact(model, x, n=2)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.std, ((p - mean).square() * w).sum(0).sqrt())
    power = (p.log() * w).sum(0).exp()
    torch.testing.assert_close(found.geometric, power / power.sum(-1, keepdim=True))
    torch.testing.assert_close(found.weight_scaled, model.eval()(x).softmax(-1).detach())


def test_masks_probabilities_and_outputs_belong_together() -> None:
    model, x = network(nn.Dropout(0.25), nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)), drawn(5, 3)
    found = exact(model, x, n=2, kind="values")
    before, behind = found.masks(0), found.masks(1)
    assert before.shape == (128, 3) and behind.shape == (128, 4) and torch.equal(found.masks(-1), behind)
    assert float(found.probabilities.sum()) == pytest.approx(1)
    for masks, p in ((before, 0.25), (behind, 0.5)):
        torch.testing.assert_close((found.probabilities[:, None] * ~masks).sum(0), torch.full((masks.shape[1],), p).double())
    assert found.outputs is not None
    for number in (0, 17, 93, 127):
        hidden = model[1](x * before[number] / 0.75) * behind[number] / 0.5
        torch.testing.assert_close(found.outputs[number], model[3](hidden).detach())


def test_the_monte_carlo_average_has_the_stated_error() -> None:
    model = network(nn.Linear(3, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3))
    found = exact(model, drawn(10, 3), n=400, seed=3)
    limit = stats.norm.isf(FALSE_ALARM / 2 / found.mean.numel()) + 1
    assert bool(((found.sampled - found.mean).abs() <= limit * found.error).all())
    assert float(((found.sampled - found.mean) / found.error).abs().mean()) > 0.1


def test_modules_functions_and_sites_have_the_same_sub_networks() -> None:
    first, last, x = nn.Linear(3, 4).double(), nn.Linear(4, 2).double(), drawn(6, 3)
    modules = nn.Sequential(nn.Dropout(0.25), first, nn.ReLU(), nn.Dropout(0.5), last)
    ours = nn.Sequential(thinnet.nn.Dropout(0.25), first, nn.ReLU(), thinnet.nn.Dropout(0.5), last)
    means = [exact(model, x, n=2) for model in (modules, ours, Functional(first, last))]
    assert means[0].units == 7
    for other in means[1:]:
        assert torch.equal(other.mean, means[0].mean)
        assert torch.equal(other.weight_scaled, means[0].weight_scaled)


@pytest.mark.parametrize(
    ("model", "x", "shapes"),
    [
        (nn.Sequential(nn.Dropout2d(0.5)), drawn(3, 2, 4, 4), [(2, 1, 1)]),
        (nn.Sequential(thinnet.nn.DropPath(0.5)), drawn(3, 4, 4), [(1, 1)]),
        (nn.Sequential(thinnet.nn.TokenDropout(0.5)), drawn(3, 4, 2), [(4, 1)]),
        (nn.Sequential(thinnet.nn.LockedDropout(0.5, batch_first=True)), drawn(3, 4, 2), [(1, 2)]),
        (nn.Sequential(nn.Dropout(0.0), nn.Dropout(1.0), nn.Dropout(0.5)), drawn(3, 4), [(4,)]),
        (nn.Dropout(0.5), drawn(3, 4), [(4,)]),
        (Twice().double(), drawn(2, 3), [(3,), (2,)]),
    ],
)
def test_the_mask_of_each_site_has_its_shape(model: nn.Module, x: Tensor, shapes: list[tuple[int, ...]]) -> None:
    networks = Subnetworks(model, x)
    assert [use.shape for use in networks.uses] == shapes
    numbers = torch.arange(1 << networks.units)
    outputs = networks.outputs(numbers)
    assert outputs.shape == (1 << networks.units, *networks.whole().shape)
    alone = Subnetworks(model, x[1:2]).outputs(numbers)
    torch.testing.assert_close(outputs[:, 1:2], alone)  # all inputs meet the same sub-networks


def test_an_encoder_layer_with_its_attention() -> None:
    layer = nn.TransformerEncoderLayer(2, 2, 2, dropout=0.1, batch_first=True)
    networks = Subnetworks(layer, torch.randn(3, 2, 2))
    assert [use.site for use in networks.uses] == ["self_attn.dropout", "dropout1", "dropout", "dropout2"]
    assert networks.units == 2 * 2 * 2 + 4 + 4 + 4


def test_the_batch_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network(nn.Dropout(0.5), nn.Linear(4, 3)), drawn(3, 4)
    whole = exact(model, x, n=2)
    parts = exact(model, x, n=2, batch_size=10)
    torch.testing.assert_close(parts.mean, whole.mean)
    assert parts.outputs is not None and whole.outputs is not None
    torch.testing.assert_close(parts.outputs, whole.outputs)
    monkeypatch.setattr(enumeration, "HELD", 1)
    averaged = exact(model, x, n=2)
    assert averaged.outputs is None and torch.equal(averaged.mean, whole.mean)
    with pytest.raises(ValueError, match="outputs must have been kept"):
        averaged.picture()


@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_the_generator_are_unchanged(training: bool) -> None:
    model = network(nn.Linear(3, 4), nn.BatchNorm1d(4), thinnet.nn.Dropout(0.5), nn.Linear(4, 2)).train(training)
    thinnet.DropoutRNG(5).bind(model).at(3)
    modules, values = list(model.modules()), {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    Subnetworks(model, drawn(1, 3)).outputs(torch.arange(4))
    assert torch.equal(torch.get_rng_state(), state)
    assert list(model.modules()) == modules and model.training is training and model[2].context is not None
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in values.items())


def test_frozen_sites_stay_off() -> None:
    model = network(nn.Dropout(0.5), nn.Linear(3, 2), nn.Dropout(0.5))
    thinnet.freeze(model, "0")
    assert [use.site for use in Subnetworks(model, drawn(2, 3)).uses] == ["2"]


def test_outputs_are_picked_and_inputs_named() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(nn.Dropout(0.5), nn.Linear(3, 2))

        def forward(self, *, given: Tensor) -> dict[str, Tensor]:
            return {"logits": self.net(given)}

    networks = Subnetworks(Named(), {"given": drawn(4, 3)}, lambda out: out["logits"])
    assert networks.outputs(torch.arange(8)).shape == (8, 4, 2)
    with pytest.raises(ValueError, match=r"must return a tensor .* got dict\. Give pick="):
        Subnetworks(Named(), {"given": drawn(4, 3)})


BAD: list[tuple[nn.Module, Any, str]] = [
    (nn.Sequential(nn.Linear(4, 40), nn.Dropout(0.5)), {}, "at most 20 droppable units; got 40, 40 at '1': 2\\^40 .* sample"),
    (nn.Sequential(nn.Linear(4, 22), nn.Dropout(0.5)), {}, "set limit=22"),
    (nn.Sequential(nn.Linear(4, 4)), {}, "it drops no unit"),
    (nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0)), {}, "it drops no unit"),
    (nn.Sequential(thinnet.nn.GaussianDropout(0.5)), {}, "'0' uses GaussianDropout"),
    (nn.Sequential(nn.Linear(4, 4), thinnet.nn.Jumpout(0.5)), {}, "'1' uses Jumpout"),
    (nn.Sequential(nn.AlphaDropout(0.5)), {}, "'0' uses AlphaDropout"),
    (nn.Sequential(thinnet.nn.DropConnect(nn.Linear(4, 2))), {}, "'0' uses DropConnect"),
    (nn.Sequential(nn.Dropout(0.5), ByHand()), {}, "'1' uses rand_like"),
    (nn.Sequential(nn.LSTM(4, 2, 2, dropout=0.5)), {}, "the dropout of LSTM is inside"),
    (nn.Sequential(nn.Dropout(0.5)), {"n": 0}, "n must be a positive integer; got 0"),
    (nn.Sequential(nn.Dropout(0.5)), {"limit": True}, "limit must be a positive integer; got True"),
    (nn.Sequential(nn.Dropout(0.5)), {"kind": "classes"}, "kind must be .* got 'classes'"),
    (nn.Sequential(nn.Flatten(0, 1), nn.Dropout(0.5)), {}, "axis 0 must count the inputs at site '1'"),
    (nn.Sequential(nn.Dropout(0.5), nn.Flatten(0, 1)), {}, "must return a tensor whose axis 0 counts the 2 inputs"),
]


@pytest.mark.parametrize(("model", "given", "message"), BAD)
def test_bad_input_is_refused_by_name(model: nn.Module, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exact(model, torch.randn(2, 4), **given)


def test_no_module_and_no_inputs() -> None:
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module; got function"):
        exact(lambda x: x, torch.ones(2, 3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="x must be tensors whose axis 0 counts the inputs"):
        exact(nn.Dropout(0.5), (torch.ones(2, 3), torch.ones(3, 3)))


def test_the_table_and_the_figure() -> None:
    found = exact(network(nn.Linear(3, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3)), drawn(10, 3), n=20)
    lines = str(found).splitlines()
    assert lines[0] == "64 sub-networks of 6 units: 6 at 2 (p=0.5); 10 inputs, probabilities"
    assert [line.split("  ")[0] for line in lines[2:6]] == [
        "arithmetic mean",
        "geometric mean",
        "weight scaling",
        "Monte-Carlo",
    ]
    rows = {row["average"]: row for row in found.rows()}
    assert rows["arithmetic mean"]["largest"] == 0 and rows["Monte-Carlo"]["passes"] == 20
    apart = F.kl_div(found.weight_scaled.log(), found.mean, reduction="batchmean")
    assert rows["weight scaling"]["KL from exact"] == pytest.approx(float(apart))

    bars, *marks = found.picture(index=3, unit=1).data
    assert sum(bars.y) == pytest.approx(1)
    assert [mark.x[0] for mark in marks] == pytest.approx([float(average[3, 1]) for average in found.by_name().values()])
