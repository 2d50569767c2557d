"""`thinnet.sites` finds every kind of randomness, with its rate, its shared axes and the mode that turns it off."""

import copy
import inspect
import json
import random

import numpy
import pytest
import torch
from assertions import assert_same_bits
from networks import Adapter, Counting, Everything, HandWritten
from torch import Tensor, nn

import thinnet
from thinnet.models.found import FoundSite, Sites

KINDS = {  # code of the line -> module, kind, nominal rate, on in eval, turned off by, shared axes
    "self.shared(self.linear(x))": ("shared", "dropout", 0.3, False, "module mode", "none"),
    "self.shared(torch.tanh(x))": ("shared", "dropout", 0.3, False, "module mode", "none"),
    "F.dropout(x, 0.25)": ("", "dropout", 0.25, True, "never", "none"),
    "F.dropout(x.sin(), 0.15, self.training)": ("", "dropout", 0.15, False, "module mode", "none"),
    "x = x * mask if": ("", "dropout", 0.2, False, "module mode", "axis 1 of 3"),
    "torch.randn_like(x) * 0.1": ("", "additive noise", None, True, "never", "none"),
    "x.masked_fill(torch.rand_like(x) < 0.15, 0.0)": ("", "dropout", 0.15, True, "never", "none"),
    "F.scaled_dot_product_attention": ("", "dropout", 0.2, True, "never", "none"),
}
MODULES = {  # module -> kind, nominal rate, shared axes
    "path": ("dropout", 0.2, "axes 1, 2 of 3"),
    "ours": ("dropout", 0.4, "none"),
    "channels": ("dropout", 0.25, "axis 2 of 3"),
    "lstm": ("dropout", 0.5, "none"),
    "attention": ("dropout", 0.1, "none"),
    "noise": ("multiplicative noise", 0.2, "none"),
}


@pytest.fixture(scope="module")
def seen() -> Sites:
    torch.manual_seed(0)
    return thinnet.sites(Everything(), torch.randn(32, 10, 16))


def line_of(code: str) -> int:
    lines, first = inspect.getsourcelines(Everything)
    (found,) = [first + number for number, line in enumerate(lines) if code in line]
    return found - (code == "x = x * mask if")  # it is drawn one line above


def at_line(sites: Sites, number: int) -> FoundSite:
    (found,) = [site for site in sites if site.line is not None and site.line.endswith(f"networks.py:{number}")]
    return found


@pytest.mark.parametrize("code", KINDS)
def test_each_line_of_a_forward_method_is_a_site(seen: Sites, code: str) -> None:
    site = at_line(seen, line_of(code))
    expected = KINDS[code]
    assert (site.name, site.kind, site.on_in_eval, site.turned_off_by, site.sharing) == (
        expected[0],
        expected[1],
        *expected[3:],
    )
    assert site.p == (None if expected[2] is None else pytest.approx(expected[2]))
    assert site.on_in_train


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_sites(seen: Sites, name: str) -> None:
    (site,) = [site for site in seen if site.name == name]
    assert (site.kind, site.sharing, site.on_in_eval, site.turned_off_by) == (*MODULES[name][::2], False, "module mode")
    assert site.p == pytest.approx(MODULES[name][1], abs=1e-4)


def test_measured_rates_agree_with_nominal_rates(seen: Sites) -> None:
    """At 99 %, widened by a third: twelve sites, one chance in a thousand for each."""
    for site in [site for site in seen if site.p and site.measured is not None and site.interval is not None]:
        low, high = site.interval
        assert low - (high - low) / 3 <= site.p <= high + (high - low) / 3, site


def test_the_factor_of_kept_units(seen: Sites) -> None:
    scales = {site.name: site.scale for site in seen if site.name in ("path", "ours", "channels", "lstm", "attention")}
    expected = {name: 1 / (1 - MODULES[name][1]) for name in scales}
    assert scales == pytest.approx(expected, rel=1e-3)


def test_shares_of_time_and_memory(seen: Sites) -> None:
    assert all(0 <= site.time < 1 and 0 <= site.memory < 1 for site in seen)
    assert 0 < sum(site.time for site in seen) < 1 and 0 < sum(site.memory for site in seen) < 1
    x, mask = 64 * 32 * 4, 64 * 32 * 4  # one product, one mask and what is scaled of it in place, in float32
    (site,) = thinnet.sites(nn.Dropout(0.5), torch.randn(64, 32))
    assert site.memory == pytest.approx(mask / (x + mask))


def test_subsets_and_decisions(seen: Sites) -> None:
    (subset,) = [site for site in seen if site.kind == "subset"]
    assert (subset.op, subset.measured) == ("randperm", 0.5)
    (decision,) = [site for site in seen if site.kind == "decision"]
    assert (decision.op, decision.draws) == ("random.random", 3.0)


def test_a_declared_rate_without_a_draw_is_listed(seen: Sites) -> None:
    notes = {site.name: (site.kind, site.p, site.note) for site in seen if not site.on_in_train and not site.on_in_eval}
    assert notes == {"unused": ("not reached", 0.7, "no training pass reached it"), "zero": ("silent", 0.0, "its rate is 0")}


def test_a_shared_module_in_a_loop_is_one_site() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(3):
                x = self.drop(x)
            return x

    (site,) = thinnet.sites(Loop(), torch.randn(4, 8))
    assert (site.name, site.draws, site.follows, site.at_output) == ("drop", 3.0, True, True)


@pytest.mark.parametrize("scale_first", [True, False])
def test_a_scale_outside_of_the_mask_is_found(scale_first: bool) -> None:
    (site,) = thinnet.sites(HandWritten(0.25, scale_first), torch.randn(64, 8))
    assert site.scale == pytest.approx(1 / 0.75) and site.p == pytest.approx(0.25)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_mask_may_select_kept_or_dropped_elements(keeps: bool) -> None:
    class Selects(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mask = torch.rand(x.shape) < (0.8 if keeps else 0.2)
            return torch.where(mask, x, 0.0) if keeps else torch.where(mask, 0.0, x)

    (site,) = thinnet.sites(Selects(), torch.randn(64, 32))
    assert (site.kind, site.p) == ("dropout", pytest.approx(0.2)) and abs((site.measured or 0) - 0.2) < 0.03


def test_a_draw_before_a_product_with_zeros_has_no_effect() -> None:
    adapter, x = Adapter(), torch.randn(4, 16)
    (site,) = thinnet.sites(adapter, x)
    assert site.effect is False and site.on_in_train
    nn.init.normal_(adapter.up.weight)
    (site,) = thinnet.sites(adapter, x)
    assert site.effect is True


def test_some_passes_do_not_reach_a_routed_site() -> None:
    class Routed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList(nn.Dropout(0.5) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.experts[int(torch.randint(2, ()))](x)

    found = thinnet.sites(Routed(), torch.randn(4, 8), passes=16)
    reached = {site.name: site.reached for site in found if site.kind == "dropout"}
    assert set(reached) == {"experts.0", "experts.1"} and sum(reached.values()) == pytest.approx(1)
    assert any("experts.0" in what for what in found.unseen)


def test_the_model_and_all_generators_are_restored() -> None:
    model, x = Counting().train(), torch.randn(4, 8)
    model.norm.eval()
    twin = copy.deepcopy(model)
    weight, log, buffer = model.linear.weight, model.log, model.seen
    states = torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].copy()
    generator = model.generator.get_state()
    thinnet.sites(model, x)
    for (name, value), expected in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.equal(value, expected), name
    assert model.linear.weight is weight and model.log is log and model.seen is buffer
    assert (model.steps, model.log, model.training, model.norm.training) == (0, [], True, False)
    assert_same_bits(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1] and (numpy.random.get_state()[1] == states[2]).all()
    assert_same_bits(model.generator.get_state(), generator)


def test_a_failing_model_is_restored_too() -> None:
    model, x = Counting().eval(), torch.randn(4, 9)
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        thinnet.sites(model, x)
    assert not model.training and model.steps == 0 and random.random.__name__ == "random"
    assert_same_bits(torch.get_rng_state(), state)


def test_without_an_example_declared_rates_are_listed() -> None:
    found = thinnet.sites(Everything())
    assert {site.name: site.p for site in found if site.name in ("shared", "lstm", "ours")} == {
        "shared": 0.3,
        "lstm": 0.5,
        "ours": 0.4,
    }
    assert found.unseen


def test_an_addressed_site_keeps_its_step_and_its_masks() -> None:
    model = nn.Sequential(nn.Linear(8, 8), thinnet.nn.Dropout(0.5))
    rng = thinnet.DropoutRNG(3).bind(model).at(7, torch.arange(4))
    x = torch.randn(4, 8)
    before = model(x)
    (site,) = thinnet.sites(model, x)
    assert (site.name, site.p, site.op) == ("1", 0.5, "thinnet::apply_noise")
    assert_same_bits(model(x), before)
    assert rng.step == 7


def test_bad_input_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^sites: model must be a torch.nn.Module; got function"):
        thinnet.sites(lambda x: x, torch.ones(1))
    with pytest.raises(ValueError, match=r"^sites: passes must be a positive integer; got 0"):
        thinnet.sites(nn.Dropout(), torch.ones(1), passes=0)


def test_table_and_json_contain_every_site(seen: Sites) -> None:
    assert all((site.name or "(the model)") in str(seen) for site in seen)
    assert len(json.loads(seen.json())["sites"]) == len(seen)
