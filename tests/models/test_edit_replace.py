"""`replace`: modules, and functions that sites serve."""

import copy
import threading
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from assertions import assert_rate, assert_same_bits
from edited import NETWORKS, PRETRAINED, Shared, X, run
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thinnet
from thinnet.models.edit import freeze, replace, set_rates

KINDS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class AlwaysOn(nn.Dropout):
    """Has its own forward method."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, True)


class SameForward(nn.Dropout):
    """A subclass that computes the same."""


class Attention(nn.Module):
    """Calls fused attention with all its settings."""

    def __init__(self, **settings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, k, dropout_p=0.5, **self.settings)


class OurAttention(nn.Module):
    """Calls thinnet's attention."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        options = dict(window=(3, None), first_key=2, enable_gqa=True)
        return thinnet.functional.attention(q, k, k, p=0.5, training=self.training, method=self.method, **options)


@pytest.mark.parametrize("method", ["AttentionDropout", "DropKey", "DropAttention", "DropHead"])
def test_calls_to_our_attention_are_served_by_the_site_of_their_method(method: str) -> None:
    q, k = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 9, 8)
    model: Any = nn.ModuleDict({"attend": OurAttention(method)})
    model.forward = lambda q, k: model["attend"](q, k)  # type: ignore[method-assign]
    before = model.eval()(q, k)
    (change,) = replace(model, functional=True, example=(q, k))
    assert change.place == "attend.dropout_calls.0" and type(model["attend"].dropout_calls["0"]).__name__ == method
    assert_same_bits(model(q, k), before)
    rng = thinnet.DropoutRNG(3).bind(model.train()).at(0)
    y = model(q, k)
    assert_same_bits(model(q, k), y)
    assert not torch.equal(rng.at(1) and model(q, k), y)
    if method == "AttentionDropout":
        torch._dynamo.reset()
        assert_same_bits(torch.compile(model["attend"], backend="aot_eager")(q, k), model(q, k))


@pytest.mark.parametrize("kind", KINDS)
def test_each_dropout_module_of_pytorch_is_replaced(kind: type[nn.Module]) -> None:
    old = kind(0.25, inplace=kind in KINDS[:4])
    model = nn.Sequential(nn.Identity(), old.eval())
    replace(model)
    new = model[1]
    assert (type(new), new.p, new.inplace, new.training) == (getattr(thinnet.nn, kind.__name__), 0.25, old.inplace, False)


def test_a_shared_module_is_replaced_once_and_everywhere() -> None:
    model = Shared()
    (change,) = replace(model)
    assert model.drop is model.held[0] and isinstance(model.drop, thinnet.nn.Dropout)
    assert str(change).endswith("thinnet.nn.Dropout(p=0.3, inplace=False), also at held.0")


def test_notes_name_what_is_unchanged() -> None:
    model = nn.ModuleDict({"on": AlwaysOn(0.3), "same": SameForward(0.2), "lstm": nn.LSTM(2, 2, 2, dropout=0.1)})
    edit = replace(model)
    assert [change.place for change in edit] == ["same"]
    assert (
        len(edit.notes) == 2 and edit.notes[0].startswith("on is unchanged") and edit.notes[1].startswith("lstm is unchanged")
    )
    assert str(replace(nn.Linear(1, 1))) == "# nothing to change"


@pytest.mark.parametrize(
    "settings", [{}, {"kdim": 6, "vdim": 7}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"bias": False}]
)
def test_replaced_attention_shares_its_parameters(settings: dict) -> None:
    model = nn.ModuleList([nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True, **settings)])
    old, keys = model[0], list(model.state_dict())
    edit = replace(model)
    new = model[0]
    assert isinstance(new, thinnet.nn.MultiheadAttention) and list(model.state_dict()) == keys
    q, k, v = torch.randn(2, 3, 8), torch.randn(2, 4, new.kdim), torch.randn(2, 4, new.vdim)
    torch.testing.assert_close(new.eval()(q, k, v), old.eval()(q, k, v))
    new.out_proj.weight = nn.Parameter(torch.zeros(8, 8))
    name, parameter = next(iter(new.named_parameters()))
    setattr(new, name, nn.Parameter(parameter * 2))
    edit.undo()
    assert torch.equal(dict(old.named_parameters())[name], parameter * 2) and not old.training


def test_a_mapping_replaces_by_class_and_by_pattern() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout2d(0.2), nn.Flatten(), nn.Dropout(0.4), nn.Linear(16, 2))
    keys = list(model.state_dict())
    wrap = {"4": lambda layer: thinnet.nn.DropConnect(layer, 0.5), nn.Dropout2d: lambda old: thinnet.nn.DropBlock2d(old.p, 2)}
    edit = replace(model, {**wrap, nn.Dropout: thinnet.nn.GaussianDropout})
    assert [type(model[index]).__name__ for index in (1, 3, 4)] == ["DropBlock2d", "GaussianDropout", "DropConnect"]
    assert (model[1].p, model[3].p, list(model.state_dict())) == (0.2, 0.4, keys)
    assert len(edit) == 3 and str(edit[2]).startswith("~ 4: torch.nn.Linear(")


class DropPath(nn.Module):
    """Holds its rate as timm's does."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob


def test_an_identity_is_replaced_by_a_site_of_rate_zero_and_other_attributes_hold_rates_too() -> None:
    blocks = (nn.ModuleDict({"drop_path": DropPath(p) if p else nn.Identity()}) for p in (0.0, 0.1, 0.2))
    model = nn.Sequential(*blocks)
    assert [note.split(" is ")[0] for note in replace(model).notes] == ["1.drop_path", "2.drop_path"]
    edit = replace(model, {"*.drop_path": thinnet.nn.DropPath})
    assert [block["drop_path"].p for block in model] == [0.0, 0.1, 0.2]  # type: ignore[index]
    assert str(edit[0]) == "~ 0.drop_path: torch.nn.Identity() -> thinnet.nn.DropPath(p=0.0, inplace=False)"
    thinnet.set_rates(model, {"0.drop_path": 0.3})  # which an identity has no place for
    assert model[0]["drop_path"].p == 0.3  # type: ignore[index]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"nobody": thinnet.nn.Dropout}, "pattern 'nobody' must match a module; there are: 0, 1"),
        ({nn.LSTM: thinnet.nn.Dropout}, "pattern 'LSTM' must match a module; there are: Dropout, Linear"),
        ({"0": lambda old: nn.Linear(4, 4, bias=False)}, r"'0' \['bias'\] would be lost and \[\] new"),
        ({"1": lambda old: None}, "must make a module; got None"),
        ({"0": thinnet.nn.Dropout}, r"Dropout must replace a module with a rate; '0' is torch.nn.Linear\(.*\), which has none"),
    ],
)
def test_bad_mappings_are_refused(mapping, message: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    with pytest.raises((ValueError, TypeError), match=message):
        replace(model, mapping)
    with pytest.raises(ValueError, match="example must be"):
        replace(model, functional=True)
    with pytest.raises(ValueError, match="model must contain what is replaced"):
        replace(nn.Dropout(0.5))


def test_served_functions_are_off_in_eval_and_addressable() -> None:
    model = Shared()
    edit = replace(model, functional=True, example=X)
    assert [change.place for change in edit] == ["drop", "dropout_calls.0", "dropout_calls.1"]
    assert_same_bits(model.eval()(X), model(X))
    rng = thinnet.DropoutRNG(3).bind(model.train()).at(0)
    assert set(rng.sites) == {"drop", "dropout_calls.0", "dropout_calls.1"}
    assert_same_bits(model(X), model(X))
    rng.unbind()
    found = {site.name: site for site in thinnet.sites(model, X, passes=2)}
    assert found["dropout_calls.1"].p == pytest.approx(0.2, abs=1e-4) and not found["dropout_calls.1"].on_in_eval
    set_rates(model, {"*calls.1": 1.0})
    torch.testing.assert_close(model(X), model.head.bias.expand(6, 4))
    freeze(model)
    assert_same_bits(model(X), model(X))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": torch.randn(5, 5)},
        {"attn_mask": torch.ones(5, 5).tril().bool()},
        {"enable_gqa": True},
    ],
)
def test_served_attention_keeps_its_settings(settings: dict) -> None:
    q = torch.randn(2, 4, 5, 8)
    k = torch.randn(2, 2, 5, 8) if "enable_gqa" in settings else torch.randn(2, 4, 5, 8)
    model = Attention(**settings)
    replace(model, functional=True, example=(q, k))
    whole = F.scaled_dot_product_attention(q, k, k, **settings)
    assert_same_bits(model.eval()(q, k), whole)
    site = model.train().dropout_calls["0"]
    site.p = 2**-16  # all but none are kept, by way of the weights
    torch.testing.assert_close(model(q, k), whole, rtol=1e-3, atol=1e-3)
    site.p = 0.5
    mean = torch.stack([model(q, k) for _ in range(400)]).mean(0)
    assert (mean - whole).abs().mean() < 0.1 * whole.abs().mean() + 0.1


def test_a_served_call_keeps_its_rate() -> None:
    class Ones(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(x, p=0.3)

    model = Ones()
    replace(model, functional=True, example=X)
    assert_rate(model(torch.ones(400, 400)) == 0, 0.3)


def test_a_call_belongs_to_the_innermost_module() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.extra, self.seldom = Shared(), AlwaysOn(0.5), False

        def forward(self, x: Tensor) -> Tensor:
            x = self.inner(F.dropout(x, 0.1))
            return F.dropout(self.extra(x) if self.seldom else x, 0.4)

    model = Outer()
    edit = replace(model, functional=True, example=X)
    assert [change.place for change in edit][1:] == [
        "dropout_calls.0",
        "dropout_calls.1",
        "inner.dropout_calls.0",
        "inner.dropout_calls.1",
    ]
    model.seldom = True  # a child whose call the example did not come by keeps it
    set_rates(model, {"dropout_calls.*": 0.0, "inner*": 0.0, "extra": 1.0})
    assert not model(X).any()
    model.forward(X)  # without a call of the module it is served as well
    model.extra.p = 0.0
    assert_same_bits(model.forward(X), model(X))


def test_calls_that_differ_from_the_example_are_refused() -> None:
    class Either(nn.Module):
        channels = False

        def forward(self, x: Tensor) -> Tensor:
            return F.dropout1d(x, 0.5) if self.channels else F.dropout(x, 0.5)

    model = Either()
    replace(model, functional=True, example=X)
    model.channels = True
    with pytest.raises(ValueError, match="Either: call 0 to a dropout function must be that of the example"):
        model(X)


def test_serving_ends_with_an_error_and_stays_in_its_thread() -> None:
    model = Shared()
    replace(model, functional=True, example=X)
    with pytest.raises(RuntimeError):
        model(X[:, :3])
    assert torch.overrides._get_current_function_mode_stack() == []
    model.eval()
    results: list[Tensor] = []
    threads = [threading.Thread(target=lambda: results.append(model(X))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(torch.equal(result, results[0]) for result in results)


def test_a_checkpointed_module_recomputes_the_same_masks() -> None:
    model = Shared()
    replace(model, functional=True, example=X)
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        y = checkpoint(model, X, use_reentrant=False) if recompute else model(X)
        gradients.append(torch.autograd.grad(y.square().sum(), model.first.weight)[0])
    assert_same_bits(*gradients)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "whisper", "t5", "vit"])
def test_all_dropout_of_a_pretrained_model_is_addressable(name: str) -> None:
    factory, example = PRETRAINED[name]
    model = factory()
    if name == "llama":
        set_rates(model, {"*attention_dropout": 0.1})
    replace(model, functional=True, example=example)
    copied = copy.deepcopy(model)
    for each in (model, copied):
        thinnet.DropoutRNG(5).bind(each).at(3)
        set_rates(each, {"*layerdrop": 0.0}) if name == "whisper" else None
    torch.manual_seed(1)
    first = run(model.train(), example)
    for one, other in zip(first, run(copied.train(), example), strict=True):
        assert_same_bits(one, other)
    evaluated = run(model, example, training=False)
    assert not all(torch.equal(one, other) for one, other in zip(first, evaluated, strict=True))
    with torch.random.fork_rng():
        torch.manual_seed(99)
        state = torch.get_rng_state()
        with torch.no_grad():
            model(**example)
        assert torch.equal(torch.get_rng_state(), state)  # nothing else draws


def test_the_transformer_of_pytorch_keeps_its_results() -> None:
    factory, example = NETWORKS["transformer"]
    model = factory()
    before = run(model, example, training=False)
    replace(model)
    torch.testing.assert_close(run(model, example, training=False), before)
    thinnet.DropoutRNG(0).bind(model).at(0)
    assert_same_bits(model(*example), model(*example))


def test_attention_without_dropout_runs_in_a_served_module() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.dropout(self.attention(x, x, x, need_weights=False)[0], 0.5, self.training)

    model, x = Model(), torch.randn(2, 3, 8)
    expected = model.eval()(x)
    thinnet.replace(model, functional=True, example=x)
    torch.testing.assert_close(model.eval()(x), expected)
    assert bool((model.train()(x) == 0).any())


def test_sites_of_thinnet_are_not_noted_as_unchanged_dropout_of_pytorch() -> None:
    model = nn.Sequential(nn.Linear(4, 4), thinnet.nn.Dropout(0.5), nn.Linear(4, 4), nn.Dropout(0.2))
    edit = thinnet.replace(model)
    assert not any(line.lstrip("# ").startswith("1 is unchanged") for line in str(edit).splitlines())
    assert type(model[3]) is thinnet.nn.Dropout
