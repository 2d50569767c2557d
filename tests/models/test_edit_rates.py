"""`set_rates`, `freeze` and `strip`."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
import transformers
from assertions import assert_same_bits
from edited import NETWORKS, PRETRAINED, SMALL, TEXT, X, mlp, picture, run
from torch import Tensor, nn

import thinnet
from thinnet.models.edit import freeze, insert, replace, set_rates, strip
from thinnet.models.passes import traced


class Path(nn.Module):
    """Stochastic depth in the style of timm."""

    def __init__(self) -> None:
        super().__init__()
        self.drop_prob = 0.2

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.drop_prob == 0.0:
            return x
        return x * x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - self.drop_prob) / (1 - self.drop_prob)


class DropPath(Path):
    """The same under its usual name."""


class PatchDropout(nn.Module):
    """Drops tokens, in the style of timm."""

    def __init__(self) -> None:
        super().__init__()
        self.prob = 0.4

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.prob == 0:
            return x
        return x[:, torch.randn(x.shape[1]).topk(round(x.shape[1] * (1 - self.prob))).indices]


class AlwaysOn(nn.Dropout):
    """Ignores its mode."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, True)


def everything() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "ours": thinnet.nn.Dropout(0.1),
            "theirs": nn.Dropout2d(0.1),
            "attn": nn.MultiheadAttention(8, 2, dropout=0.1),
            "lstm": nn.LSTM(2, 2, 2, dropout=0.1),
            "one": nn.LSTM(2, 2),
            "path": Path(),
            "drop_path": DropPath(),
            "learned": thinnet.nn.ConcreteDropout(nn.Linear(2, 2)),
        }
    )


def test_rates_of_all_owners_are_set() -> None:
    model = everything()
    edit = set_rates(model, 0.3)
    assert str(edit).splitlines() == [
        *("~ ours: 0.1 -> 0.3", "~ theirs: 0.1 -> 0.3", "~ attn.dropout: 0.1 -> 0.3", "~ lstm.dropout: 0.1 -> 0.3"),
        *("~ path.drop_prob: 0.2 -> 0.3", "~ drop_path: 0.2 -> 0.3"),
        "# one.dropout stays at 0: it has one layer",
    ]
    assert (model.ours.p, model.attn.dropout, model.lstm.dropout, model.drop_path.drop_prob) == (0.3,) * 4
    assert model.ours.key(torch.ones(1)).rate == round(0.3 * 65536)
    assert len(set_rates(model, 0.3)) == 0


def test_the_rate_of_dropped_tokens_is_set_and_stripped() -> None:
    model, x = nn.Sequential(PatchDropout()), torch.randn(2, 10, 4)
    edit = set_rates(model, 0.7)
    assert str(edit) == "~ 0: 0.4 -> 0.7" and model(x).shape == (2, 3, 4)
    edit.undo()
    assert str(strip(model)) == "~ 0: 0.4 -> 0.0" and torch.equal(model(x), x)


def test_patterns_match_paths_and_attributes() -> None:
    model = everything()
    assert [change.place for change in set_rates(model, {"attn": 0.5, "l*": 0.5, "lstm.dropout": 0.2})] == [
        "attn.dropout",
        "lstm.dropout",
    ]
    assert model.lstm.dropout == 0.2
    with pytest.raises(ValueError, match=r"pattern 'x' must match a rate; there are: attn\.dropout, drop_path"):
        set_rates(model, {"attn": 0.1, "x": 0.1})
    with pytest.raises(ValueError, match="pattern 'one'"):
        set_rates(model, {"one": 0.1})
    with pytest.raises(ValueError, match="p must be a number"):
        set_rates(model, {"attn": 1.5})
    assert model.attn.dropout == 0.5


@pytest.mark.parametrize("name", PRETRAINED)
def test_pretrained_models_drop_at_the_rates_that_are_set(name: str) -> None:
    factory, example = PRETRAINED[name]
    model = factory()
    set_rates(model, 0.25)
    record = traced(model, lambda model: model(**example), training=True)
    assert {round(draw.p, 3) for draw in record.draws if draw.p is not None} == {0.25}


@pytest.mark.parametrize("name", [*NETWORKS, *PRETRAINED])
def test_a_stripped_model_is_deterministic(name: str) -> None:
    factory, example = (NETWORKS | PRETRAINED)[name]
    model = factory()
    if name == "shared":
        replace(model, functional=True, example=example)
    state = torch.get_rng_state()
    evaluated = run(model, example, training=False)
    strip(model)
    for training in (False, True):
        with torch.no_grad():
            model.train(training)
            model(**example) if isinstance(example, dict) else model(*example if isinstance(example, tuple) else (example,))
    assert torch.equal(torch.get_rng_state(), state)
    if name not in ("resnet",):  # its batch norms went on
        for one, other in zip(evaluated, run(model, example, training=False), strict=True):
            assert_same_bits(one, other)


def test_strip_unwraps_layers_and_removes_inserted_sites() -> None:
    layer, head = nn.Linear(16, 16), nn.Linear(16, 4)
    wrapped = thinnet.nn.DropConnect(layer, 0.5)
    model = nn.Sequential(wrapped, nn.ReLU(), thinnet.nn.LockedDropout(0.5), nn.Dropout(0.5), head, AlwaysOn(0.5))
    seen: list[Tensor] = []
    handle = wrapped.register_forward_hook(lambda module, args, output: seen.append(output))
    inserted = insert(model, {"1": 0.5})
    edit = strip(model)
    assert model[0] is layer and [type(model[index]) for index in (2, 3)] == [nn.Identity, nn.Identity]
    assert not model[1]._forward_hooks and not list(model[1].children()) and model[3].p == 0.0
    assert_same_bits(model(X), head(torch.relu(layer(X))))
    assert seen
    seen.clear()
    handle.remove()
    model(X)
    assert not seen
    edit.undo()
    inserted.undo()
    assert model[0] is wrapped


def test_strip_pins_sites_with_state_or_their_own_eval_function() -> None:
    model = nn.Sequential(
        thinnet.nn.ConcreteDropout(nn.Linear(16, 16)),
        thinnet.nn.DropConnect(nn.Linear(16, 16), 0.5, inference="gaussian"),
        thinnet.nn.Mixout(nn.Linear(16, 16)),
    )
    keys, y = list(model.state_dict()), model.eval()(X)
    edit = strip(model.train())
    assert list(model.state_dict()) == keys
    assert_same_bits(model.train()(X), y)
    assert [str(change).endswith("stays off") for change in edit] == [True] * 3


def test_strip_pins_a_site_that_is_the_model() -> None:
    for site in (thinnet.nn.Dropout(0.5), nn.Dropout(0.5)):
        edit = strip(site)
        assert_same_bits(site.train()(X), X)
        edit.undo()
        assert site.training and site.p == 0.5


@pytest.mark.parametrize("training", [False, True])
def test_freeze_pins_the_mode(training: bool) -> None:
    model = nn.Sequential(mlp(), nn.MultiheadAttention(4, 2, dropout=0.1), nn.BatchNorm1d(4))
    model[0][2].p = 0.5
    edit = freeze(model, training=training)
    for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for mode in (True, False):
            each.train(mode)
            assert [each[0][2].training, each[1].training] == [training] * 2
            assert [each[0][1].training, each[1].out_proj.training, each[2].training] == [mode] * 3
    again = freeze(model, "1", training=not training)
    model.train()
    assert (model[0][2].training, model[1].training) == (training, not training)
    thinnet.sites(model[0], X, passes=1)  # runs in both modes
    again.undo()
    edit.undo()
    assert all(module.training for module in model.modules())


def test_freeze_keeps_one_layer_on_for_monte_carlo() -> None:
    model = transformers.BertModel(transformers.BertConfig(**SMALL)).eval()
    before = run(model, TEXT)
    freeze(model, "encoder.layer.1.*", training=True)
    model.eval()
    found = thinnet.sites(model, passes=2, **TEXT)
    assert {site.name.split(".")[2] for site in found if site.on_in_eval} == {"1"}
    assert not torch.equal(run(model, TEXT)[0], before[0])


def test_freeze_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match="pattern 'x' must match a module with dropout; there are: 2"):
        freeze(mlp(), "x")
    with pytest.raises(TypeError, match="training must be True or False"):
        freeze(mlp(), training="on")  # type: ignore[arg-type]


def test_a_pin_carries_over_to_a_replaced_module() -> None:
    model = mlp()
    model[2].p = 0.5
    freeze(model)
    replace(model)
    assert isinstance(model[2], thinnet.nn.Dropout) and not model.train()[2].training


def test_undo_restores_the_order_of_hooks() -> None:
    model = mlp()
    insert(model, {"1": 0.5})
    model[1].register_forward_hook(lambda module, args, output: None)
    was = picture(model)
    edit = strip(model)
    assert len(model[1]._forward_hooks) == 1
    edit.undo()
    assert picture(model) == was


@pytest.mark.parametrize("wrap", [thinnet.nn.WeightDrop, thinnet.nn.Shakeout, thinnet.nn.FastDropout, thinnet.nn.DropConnect])
def test_strip_puts_the_layer_in_place_of_its_wrapper(wrap) -> None:
    layer = nn.Linear(16, 16)
    model = nn.Sequential(wrap(layer))
    strip(model)
    assert model[0] is layer
