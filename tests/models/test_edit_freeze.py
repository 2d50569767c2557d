"""`freeze` and `strip` reach what decides about dropout, whatever module that is."""

import linecache
import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from assertions import assert_same_bits
from edited import X, attention
from torch import Tensor, nn
from zoo import ZOO, outputs, pretrained

import thinnet
from thinnet.models.edit import freeze, replace, set_rates, strip
from thinnet.models.edit.decisions import is_dropout_draw
from thinnet.models.passes import traced


class Two(nn.Module):
    """Two linear layers with dropout in between, which a subclass applies."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.child = nn.Linear(16, 16), nn.Linear(16, 4), nn.Dropout(0.5)
        self.config = {"rate": 0.5}

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.applied(self.one(x)))


class ChildRate(Two):
    def applied(self, x: Tensor) -> Tensor:
        return F.dropout(x, p=0.0 if not self.training else self.child.p)


class Constant(Two):
    def applied(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, self.training)


class Configured(Two):
    def applied(self, x: Tensor) -> Tensor:
        training = self.training
        return F.dropout(
            x,
            self.config["rate"],
            training,
        )


class Listed(Two):
    """As the MLP of PyTorch Geometric: a rate for each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = [0.5, 0.0]

    def applied(self, x: Tensor) -> Tensor:
        return F.dropout(x, p=self.dropout[0], training=self.training)


class ByHand(Two):
    def applied(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * torch.rand_like(x).gt(0.5) / 0.5


class Helped(Two):
    def applied(self, x: Tensor) -> Tensor:
        return helper(self, x)


def helper(module: nn.Module, x: Tensor) -> Tensor:
    return F.dropout(x, 0.5, training=module.training)


class Always(Two):
    def applied(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


class AlwaysAttention(Two):
    def applied(self, x: Tensor) -> Tensor:
        heads = x.view(-1, 1, 4, 4)
        return F.scaled_dot_product_attention(heads, heads, heads, dropout_p=0.5).flatten(1)


class Auxiliary(nn.Module):
    """As in GoogLeNet: the root owns no dropout; its mode adds an output."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.head, self.auxiliary = nn.Dropout(0.5), nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Any:
        if self.training:
            return self.head(self.drop(x)), self.auxiliary(x)
        return self.head(self.drop(x))


def is_random(model: nn.Module, inputs: Any) -> bool:
    with torch.no_grad():
        first = outputs(model, inputs)
        others = [outputs(model, inputs) for _ in range(4)]
    return any(not a.equal(b) for other in others for a, b in zip(first, other, strict=True))


KINDS = (ChildRate, Constant, Configured, Listed, ByHand, Helped, Always, AlwaysAttention)


@pytest.mark.parametrize("kind", KINDS)
def test_freeze_turns_dropout_off_and_on_wherever_it_is_decided(kind: type[Two]) -> None:
    model = nn.Sequential(kind(), nn.BatchNorm1d(4))
    expected = kind not in (Always, AlwaysAttention)
    edit = freeze(model)
    assert not is_random(model.train(), X) and not is_random(model.eval(), X)
    assert model.train()[1].training
    edit.undo()
    edit = freeze(model, training=True, example=X)
    assert is_random(model.eval(), X) and not model[1].training
    edit.undo()
    assert is_random(model.train(), X) and is_random(model.eval(), X) is not expected
    strip(model)
    assert not is_random(model.train(), X)


@pytest.mark.parametrize("kind", [ChildRate, Constant])
def test_freeze_compiles(kind: type[Two]) -> None:
    model = kind()
    freeze(model)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert_same_bits(compiled.train()(X), model.eval()(X))


def test_a_pattern_for_the_child_reaches_the_parent_that_reads_its_rate() -> None:
    model = nn.Sequential(ChildRate(), Constant())
    edit = freeze(model, "0.child")
    model.train()
    assert [change.place for change in edit] == ["0.child", "0"] and not model[0].training and model[1].training


def test_a_root_without_dropout_of_its_own_follows_the_model() -> None:
    model = Auxiliary()
    freeze(model)
    assert len(model.train()(X)) == 2 and not is_random(model, X)
    freeze(model, training=True)
    assert isinstance(model.eval()(X), Tensor) and is_random(model, X)


def test_code_without_a_source_counts_all_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, Any] = {"F": F, "Two": Two, "__name__": "typed"}
    exec("class Typed(Two):\n def applied(self, x):\n  return F.dropout(x, self.child.p if self.training else 0.0)", space)
    linecache.clearcache()
    model = space["Typed"]()
    freeze(model)
    assert not is_random(model.train(), X)


class ByHandAlways(Two):
    def applied(self, x: Tensor) -> Tensor:
        return x * x.new_empty(x.shape).bernoulli_(0.5)


def test_an_example_shows_dropout_that_keeps_no_mode() -> None:
    model = ByHandAlways()
    with pytest.raises(ValueError, match=r"freeze: dropout must follow .* stay off; got other dropout at the model .*py:\d+"):
        freeze(model, example=X)
    assert model.child.train().training  # undone


class Unused(Two):
    """Draws in every mode, and lets the number decide nothing."""

    def applied(self, x: Tensor) -> Tensor:
        skip = random.random() < 0.5
        return x if not self.training and skip else F.dropout(x, 0.5, self.training)


def test_numbers_without_effect_are_no_dropout() -> None:
    assert len(freeze(Unused(), example=X)) == 2


@pytest.mark.parametrize("name", ZOO)
def test_pretrained_models_are_frozen_off_and_on(name: str) -> None:
    model, inputs = pretrained(name)
    edit = freeze(model, example=inputs)
    assert not is_random(model.train(), inputs)
    edit.undo()
    edit = freeze(model, training=True, example=inputs)
    assert is_random(model.eval(), inputs)
    edit.undo()
    strip(model)
    assert not is_random(model.train(), inputs)


def noise_of(model: nn.Module, inputs: Any) -> dict[str, float | None]:
    record = traced(model, lambda model: outputs(model, inputs), training=True)
    return {draw.op: draw.p for draw in record.draws if is_dropout_draw(draw)}


@pytest.mark.parametrize("name", ZOO)
def test_pretrained_models_take_rates_and_sites(name: str) -> None:
    model, inputs = pretrained(name)
    edit = set_rates(model, 0.0)
    assert is_random(model, inputs) is (name == "SwitchTransformers")  # its router adds noise, which has no rate
    edit.undo()
    set_rates(model, 0.375)
    before = outputs(model.eval(), inputs)
    replace(model, functional=True, example=inputs)
    for one, other in zip(outputs(model, inputs), before, strict=True):
        torch.testing.assert_close(one, other)
    noise = noise_of(model, inputs)
    assert all(p in (None, 0.375) for p in noise.values())
    ours, by_hand = {"thinnet::apply_noise", "thinnet::attention"}, {"aten::rand", "aten::uniform"}
    assert noise.keys() <= ours | by_hand  # masks by hand keep no address


def test_a_rate_of_a_configuration_has_its_name_there() -> None:
    model, _ = pretrained("Falcon")
    edit = set_rates(model, {"config.attention_dropout": 0.25})
    assert [str(change) for change in edit] == ["~ config.attention_dropout: 0.1 -> 0.25"]
    edit.undo()
    assert model.config.attention_dropout == 0.1


def test_frozen_encoder_layers_of_pytorch_drop_in_eval() -> None:
    model, x = attention(), torch.randn(2, 5, 16)
    set_rates(model, 0.3)
    freeze(model, training=True)
    assert is_random(model.eval(), (x, x))
    assert not [site for site in thinnet.sites(model.encoder, x, passes=2) if not site.on_in_eval]
