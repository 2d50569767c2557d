"""Invariants of RealMLP and TabM, rivals of dropout that are networks of their own."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("pytabkit")
pytest.importorskip("tabm")

from thinnet.nn import Dropout
from thinnet.report.extras import MissingLibrary
from thinnet.study.data.dataset import Dataset, Split
from thinnet.study.data.tasks import Classification, Regression
from thinnet.study.design.configuration import NETWORKS, Configuration, TrialKey
from thinnet.study.design.plan import Plan
from thinnet.study.training.network import check_configurations, seeded_network
from thinnet.study.training.rivals import Rival, _rows
from thinnet.study.training.scores import trained
from thinnet.study.training.trial import run_trial, score, seeds_of, train
from thinnet.study.workers import budget

KIT = {"params": "sklearn.default_params", "module": "training.lightning_modules", "base": "alg_interfaces.base"}
ROWS, FEATURES = 60, 3
PLAN = Plan(rates=(), epochs=2, against=tuple(NETWORKS))
RIVAL = {method: Configuration(method, 1.0) for method in NETWORKS}


def table(task: str) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32) * 5
    y = x[:, 0] + rng.normal(size=ROWS).astype(np.float32)
    y, kind = ((y > 0).astype(np.int64), Classification(("no", "yes"))) if task == "classes" else (y / 5, Regression(0.0, 5.0))
    parts = Split(x, y, np.arange(ROWS))
    return Dataset("table", "y", kind, parts.rows(slice(48)), 12, parts.rows(slice(48, None)), split_seed=0)


@pytest.mark.parametrize("task", ["classes", "numbers"])
@pytest.mark.parametrize("method", NETWORKS)
def test_saved_weights_of_a_seed_give_its_losses_again(method: str, task: str, tmp_path: Path):
    data, key = table(task), TrialKey(RIVAL[method], 1)
    before = torch.get_rng_state()
    trial = run_trial(data, PLAN, tmp_path, key)
    assert not trial.failed
    assert torch.equal(torch.get_rng_state(), before)
    again = run_trial(data, PLAN, tmp_path / "again", key)
    assert (again.curves, again.digest) == (trial.curves, trial.digest)
    network = next(trained(data, PLAN, tmp_path, [trial], "last"))  # built with the scales of another split
    validation = data.sets(1)[1]
    losses, _ = score(network, data.task, torch.from_numpy(validation.x), torch.from_numpy(validation.y))
    assert losses.mean().item() == pytest.approx(trial.curves["validation_loss"][-1], rel=1e-12)


def test_realmlp_trains_as_its_own_library_does_without_dropout(monkeypatch: pytest.MonkeyPatch):
    kit = {name: pytest.importorskip(f"pytabkit.models.{module}") for name, module in KIT.items()}
    lightning = pytest.importorskip("lightning.pytorch")
    monkeypatch.setitem(kit["params"].DefaultParams.RealMLP_TD_CLASS, "p_drop", 0.0)  # the libraries draw other masks
    data, plan, epochs = table("classes"), replace(PLAN, epochs=5), 5
    ours = train(data, plan, TrialKey(RIVAL["realmlp"], 0))[0].curves["validation_loss"]

    own = {"use_ls": False, "allow_single_split_opt": False, "n_epochs": epochs, "val_metric_name": "cross_entropy"}
    module = kit["module"].TabNNModule(**kit["params"].DefaultParams.RealMLP_TD_CLASS | own)
    parts, seed = data.sets(0), seeds_of(plan, 0).weights
    x, y = (np.concatenate([getattr(part, name) for part in parts]) for name in "xy")
    first, second = (torch.arange(rows)[None] for rows in map(len, parts))
    split = kit["base"].SplitIdxs(first, second + len(parts[0]), None, seed, [seed], 0)
    module.compile_model(_rows(Split(x, y, np.arange(len(x))), 2), [split], kit["base"].InterfaceResources(1, []))
    theirs = []

    class Losses(lightning.Callback):
        def on_validation_end(self, trainer: object, module: torch.nn.Module) -> None:
            output = torch.cat(module.val_preds, -2)[0]
            theirs.append(torch.nn.functional.cross_entropy(output, torch.from_numpy(parts[1].y)).item())

    quiet = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger"), False)
    callbacks = [*module.create_callbacks(), Losses()]
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0, callbacks=callbacks, **quiet)
    trainer.fit(module, train_dataloaders=module.train_dl, val_dataloaders=module.val_dl)
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_every_member_trains_on_the_target_and_the_average_predicts():
    data = table("classes")
    network, x = seeded_network(data, PLAN, RIVAL["tabm"], seed=0), torch.from_numpy(data.test.x)
    assert isinstance(network, Rival)
    network.eval()
    with torch.no_grad():
        one_by_one = network.layers(x).softmax(-1)
        assert torch.allclose(network(x).softmax(-1), one_by_one.mean(1), atol=1e-6)
        network.train()
        assert network(x).shape == (len(x) * network.members, 2)


def test_the_rate_of_realmlp_falls_to_zero_over_the_epochs_of_the_study():
    data, plan = table("numbers"), Plan(rates=(), epochs=9)
    network = seeded_network(data, plan, RIVAL["realmlp"], seed=0).train()
    site, x, rates = next(each for each in network.modules() if isinstance(each, Dropout)), torch.from_numpy(data.train.x), []
    for _ in range(plan.epochs):
        network(x)
        rates.append(site.p)
    assert rates[:5] == [0.15] * 5
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert 0 < rates[-1] < 0.02


def test_trials_of_a_seed_have_the_same_scales_and_another_seed_has_others():
    data = table("numbers")
    states = [train(data, PLAN, TrialKey(RIVAL["realmlp"], seed))[1]["last"] for seed in (0, 0, 1)]
    scale = next(name for name in states[0] if name.endswith("tfms.2.scale"))
    assert torch.equal(states[0][scale], states[1][scale])
    assert not torch.equal(states[0][scale], states[2][scale])


@pytest.mark.parametrize("library", ["pytabkit", "tabm"])
def test_a_missing_library_is_named_with_its_extra(library: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibrary, match=rf"{library} must be installed; it is not. Run pip install 'thinnet\[rivals\]'."):
        check_configurations(table("classes"), PLAN)


def test_a_network_of_the_user_is_refused(study: Callable, tmp_path: Path):
    outcome = study("cnn", "--against", "tabm", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "--against: tabm must have a table; got cnn, which has a network of its own." in outcome.err


def test_a_study_compares_them_on_the_test_set_with_their_cost(study: Callable, csv: Path, tmp_path: Path):
    arguments = (csv, "--target", "label", "--rates", "0.5", "--epochs", "1", "--against", "realmlp,tabm", "--json")
    found = study(*arguments, "--out", tmp_path / "out").result()
    assert [each["rival"]["method"] for each in found["rivals"]["contrasts"]] == ["realmlp", "tabm"]
    assert [sentence.split(" reaches")[0] for sentence in found["rivals"]["sentences"]] == ["RealMLP", "TabM"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "A trial of TabM takes" in page and "RealMLP reaches a test" in page
    assert study(*arguments, "--out", tmp_path / "out").result() == found  # from the stored trials


def test_a_time_limit_counts_the_networks_beside_the_edits(monkeypatch: pytest.MonkeyPatch):
    seconds = {"dropout": 1.0, "none": 1.0, "realmlp": 5.0, "tabm": 50.0}
    monkeypatch.setattr(budget, "_seconds_per_row", lambda data, plan, configuration: seconds[configuration.method])
    plan = replace(PLAN, rates=(0.2, 0.4))
    assert budget.seconds_per_row(table("classes"), plan) == (3 * 1 + 5 + 50) / 5
