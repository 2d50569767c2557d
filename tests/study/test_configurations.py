"""Configurations: the edit of each, and successive halving."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from thinnet.models.edit.rates import owners
from thinnet.models.recommend.recommend import recommend
from thinnet.nn import GaussianDropout
from thinnet.study.data.preparing import prepare
from thinnet.study.data.tables import read_table
from thinnet.study.design.configuration import ALL, BASELINE, METHODS, SCHEDULES, Configuration, TrialKey
from thinnet.study.design.halving import FINALISTS, current_look, trials_in_all
from thinnet.study.design.plan import Plan, StudyError
from thinnet.study.study import identity
from thinnet.study.training import advice
from thinnet.study.training.advice import advised
from thinnet.study.training.network import check_configurations, schedules_of, seeded_network
from thinnet.study.training.trial import train

PLAN = Plan(
    rates=(0.4,), hidden=(16, 8), epochs=2, places=(ALL, "input", "hidden1+input"), methods=("dropout", "gaussiandropout")
)


@pytest.fixture(scope="module")
def data():
    return prepare(read_table(None, None), None, 0)


def rates(data, configuration: Configuration, plan: Plan = PLAN) -> dict[str, float]:
    return {owner.name: owner.p for owner in owners(seeded_network(data, plan, configuration, seed=0))}


def test_a_place_sets_the_rate_at_its_sites_alone(data):
    assert rates(data, BASELINE) == {"input": 0.0, "hidden1": 0.0, "hidden2": 0.0}
    assert rates(data, Configuration("dropout", 0.4)) == {"input": 0.0, "hidden1": 0.4, "hidden2": 0.4}
    assert rates(data, Configuration("dropout", 0.4, "input")) == {"input": 0.4, "hidden1": 0.0, "hidden2": 0.0}
    assert rates(data, Configuration("dropout", 0.4, "hidden1+input")) == {"input": 0.4, "hidden1": 0.4, "hidden2": 0.0}
    assert "input" not in rates(data, BASELINE, Plan())


def test_a_place_that_matches_nothing_names_the_sites(data):
    with pytest.raises(StudyError, match=r"--places: .*hidden3.*Its sites are hidden1, hidden2\."):
        check_configurations(data, Plan(rates=(0.4,), hidden=(16, 8), places=("hidden3",)))


def test_a_method_stands_at_the_sites_and_changes_no_weight(data):
    plain = seeded_network(data, PLAN, BASELINE, seed=3)
    other = seeded_network(data, PLAN, Configuration("GaussianDropout", 0.4), seed=3)
    assert [isinstance(other.get_submodule(f"hidden{number}"), GaussianDropout) for number in (1, 2)] == [True, True]
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in plain.state_dict().items())


@pytest.mark.parametrize("method", ["LockedDropout", "DropBlock2d"])
def test_a_method_that_does_not_fit_its_sites_is_refused(data, method: str):
    with pytest.raises(StudyError, match=f"--methods: {method} must fit its sites"):
        check_configurations(data, Plan(rates=(0.4,), methods=(method,)))


def test_auto_is_the_advice_of_the_catalogue_and_says_why(data):
    """What recommend lists and fits the sites; DropBlock2d, which wants pictures, is not among the methods of a perceptron."""
    plan = advised(data, Plan(rates=(0.4,), hidden=(16, 8), methods=("auto",), places=("auto",)))
    assert (plan.methods, plan.places) == (("dropout", "GaussianDropout"), ("all", "input", "input+all"))
    assert any("table 10" in sentence for sentence in plan.advice)
    check_configurations(data, plan)
    explicit = Plan(rates=(0.4,), hidden=(16, 8), methods=plan.methods, places=plan.places)
    assert advised(data, explicit) is explicit and identity(data, explicit) == identity(data, plan)


def test_methods_that_do_not_fit_are_left_out_with_a_sentence(data, monkeypatch: pytest.MonkeyPatch):
    row = recommend(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))).rows[0]
    monkeypatch.setattr(advice, "recommend", lambda *_, **__: [row])
    plan = advised(data, Plan(rates=(0.4,), hidden=(16, 8), methods=("auto",)))
    assert (row.method, plan.methods) == ("DropBlock2d", ("dropout",)) and "DropBlock2d is left out" in plan.advice[0]


def test_methods_are_classes_of_the_catalogue_and_their_order_is_fixed():
    import thinnet.nn

    assert all(hasattr(thinnet.nn, name) for name in METHODS if name[0].isupper())
    assert PLAN.methods == ("dropout", "GaussianDropout")


def test_configurations_of_one_seed_share_the_batches_and_differ_in_the_edit(data):
    curves = [train(data, PLAN, TrialKey(each, 1))[0].curves["train_loss"] for each in PLAN.configurations]
    assert len({tuple(curve) for curve in curves}) == len(curves) == 7


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_sets_the_rate_of_a_step(data, name: str):
    configuration = Configuration("dropout", 0.4, schedule=name)
    network = seeded_network(data, PLAN, configuration, seed=0)
    found = schedules_of(network, configuration, steps=60)
    assert set(found) == (set() if name == "constant" else {"hidden1", "hidden2"})
    assert all(0 <= schedule(step) <= 0.4 for schedule in found.values() for step in range(61))
    train(data, PLAN, TrialKey(configuration, 0))


def test_weight_decay_shrinks_weights_and_width_removes_units(data):
    plan = Plan(hidden=(16, 8), epochs=2)
    norms = [
        float(train(data, plan, TrialKey(each, 0))[1]["last"]["linear1.weight"].norm())
        for each in (BASELINE, Configuration("weight_decay", 1.0))
    ]
    assert norms[1] < norms[0]
    narrow = seeded_network(data, plan, Configuration("width", 0.5), seed=0)
    assert [layer.out_features for layer in narrow if isinstance(layer, torch.nn.Linear)] == [8, 4, 10]


def test_rivals_are_compared_with_the_choice_on_the_test_set(study: Callable, csv: Path, tmp_path: Path):
    outcome = study(csv, "--target", "label", "--json", "--against", "weight_decay,early_stopping", "--out", tmp_path / "out")
    found = outcome.result()
    assert [each["rival"]["method"] for each in found["rivals"]["contrasts"]] == ["weight_decay", "early_stopping"]
    assert all("reaches a test NLL of" in sentence for sentence in found["rivals"]["sentences"])
    assert found["verdict"]["chosen"]["method"] in ("none", "dropout")


def test_width_needs_a_model_that_takes_one(study: Callable, tmp_path: Path):
    model = "def model(): return nn.Sequential(nn.Linear(2, 4), nn.Dropout(), nn.Linear(4, 1))"
    data = "def data(): return torch.randn(60, 2), torch.randn(60)"
    (tmp_path / "narrow.py").write_text("\n".join(["import torch", "from torch import nn", model, data]))
    outcome = study(tmp_path / "narrow.py", "--against", "width", "--out", tmp_path / "out")
    assert (outcome.code, "--against: model() must take a width" in outcome.err) == (2, True)


def drawn(plan: Plan, seeds: int) -> dict[TrialKey, float]:
    random = np.random.default_rng(0)
    return {TrialKey(each, seed): random.random() for each in plan.configurations for seed in range(seeds)}


@pytest.mark.parametrize("seeds", [1, 3, 4, 8, 24])
def test_halving_does_not_depend_on_the_order_of_trials(seeds: int):
    plan, random = Plan(against=("weight_decay",)), np.random.default_rng(1)
    losses, have = drawn(plan, seeds), {}
    while True:
        look = current_look(plan, have, seeds)
        keys = [key for key in look.keys if key not in have]
        if not keys:
            break
        random.shuffle(keys)
        for key in keys:
            assert current_look(plan, have, seeds) == look  # what is dropped is decided where a look is complete
            have[key] = losses[key]
    assert len(have) == trials_in_all(plan, seeds)
    assert current_look(plan, losses, seeds) == look
    assert look.configurations[0] == BASELINE
    assert look.seeds == seeds
    if seeds > 3:
        kinds = [each.is_rival for each in look.configurations[1:]]
        assert (kinds.count(False), kinds.count(True)) == (FINALISTS, 1)


def test_few_configurations_and_full_studies_train_all():
    for plan in (Plan(rates=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)), Plan(full=True)):
        assert current_look(plan, {}, 8).keys == [TrialKey(each, seed) for seed in range(8) for each in plan.configurations]


def test_more_seeds_later_train_what_is_left(study: Callable, csv: Path, tmp_path: Path):
    command = (csv, "--target", "label", "--rates", "0.1,0.2,0.3,0.4,0.5,0.6,0.7", "--epochs", "1", "--json")
    study(*command, "--seeds", "3", "--out", tmp_path / "out")
    continued = study(*command, "--seeds", "5", "--out", tmp_path / "out").result()
    assert sorted(each["seeds"] for each in continued["configurations"]) == [3] * 4 + [5] * 4
    whole = study(*command, "--seeds", "5", "--out", tmp_path / "whole").result()
    assert whole | {"test_looks": 0} == continued | {"test_looks": 0}
