"""The recommended network: its code runs and rebuilds what the study trained, its audit is clean, it is measured."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thinnet.study.data.builtin import load
from thinnet.study.data.dataset import Dataset
from thinnet.study.data.user_data import load_file
from thinnet.study.data.user_file import open_file
from thinnet.study.design.configuration import BASELINE, Configuration, Line, TrialKey
from thinnet.study.design.plan import Plan
from thinnet.study.design.problems import file_of
from thinnet.study.findings.pasted import code_of
from thinnet.study.findings.reliability import _of_classes, reliability
from thinnet.study.report import configuration_figures as drawn
from thinnet.study.training.network import seeded_network
from thinnet.study.training.trial import run_trial

OWN = """
import torch
from torch import nn

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.drop, self.head = nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 3)

    def forward(self, x):
        hidden = self.drop(self.body(x).relu())
        return {"hidden": (self.head(hidden), hidden)}

def model():
    return Pair()

def data():
    x = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    return x, x[:, :3].argmax(1)

def loss(output, y):
    return nn.functional.cross_entropy(output, y, reduction="none")

def optimizer(parameters):
    return torch.optim.SGD(parameters, lr=0.1)
"""

CASES: dict[str, tuple[str, Configuration, dict[str, Any]]] = {
    "classes": ("wine", Configuration("dropout", 0.2), {}),
    "numbers": ("diabetes", Configuration("dropout", 0.2), {}),
    "place": ("wine", Configuration("dropout", 0.2, "hidden2"), {"places": ("hidden2",)}),
    "schedule": ("wine", Configuration("dropout", 0.2, schedule="linear"), {"schedules": ("linear",)}),
    "method": ("wine", Configuration("GaussianDropout", 0.2, "hidden1"), {"places": ("hidden1",)}),
    "thin": ("wine", Configuration("thin", 0.5), {"methods": ("dropout", "thin")}),
    "baseline": ("wine", BASELINE, {}),
    "cnn": ("cnn", Configuration("dropout", 0.2, "head"), {}),
    "cnn method": ("cnn", Configuration("GaussianDropout", 0.2, "head"), {}),
    "own": ("own.py", Configuration("dropout", 0.2), {}),
}


def dataset(name: str, folder: Path) -> Dataset:
    if name == "own.py":
        (folder / name).write_text(OWN)
        return load_file(open_file(folder / name), name, None, 0)
    file = file_of(name)
    return load(name, None, 0) if file is None else load_file(open_file(file), name, None, 0)


@pytest.mark.parametrize("name", CASES)
def test_pasted_code_rebuilds_and_trains_the_network(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    problem, configuration, settings = CASES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    data, plan = dataset(problem, tmp_path), Plan(rates=(0.2,), epochs=4, hidden=(16, 8), learning_rate=1e-2, **settings)
    trial = run_trial(data, plan, tmp_path, TrialKey(configuration, 1))
    (weights,) = (tmp_path / "weights").iterdir()
    pasted: dict[str, Any] = {"__name__": "pasted"}
    exec(compile(code_of(data, plan, configuration, 1, weights.relative_to(tmp_path)), "pasted.py", "exec"), pasted)

    train, validation = (tuple(map(torch.from_numpy, (part.x, part.y))) for part in data.sets(1))
    ours = seeded_network(data, plan, configuration, seed=0)
    states = torch.load(weights, weights_only=True)["best"]
    ours.load_state_dict(states)
    theirs = pasted["trained"]()
    assert theirs.state_dict().keys() == states.keys()
    assert [(path, type(site), site.p) for path, site in theirs.named_modules() if hasattr(site, "p")] == [
        (path, type(site), site.p) for path, site in ours.named_modules() if hasattr(site, "p")
    ]
    loss = pasted["loss_of"](output_of(theirs, validation[0]), validation[1]).item()
    assert loss == pytest.approx(trial.loss, rel=1e-5)
    trained, fresh = pasted["train"](*train, *validation), pasted["model"]().eval()
    after, before = (pasted["loss_of"](output_of(network, train[0]), train[1]) for network in (trained, fresh))
    assert after < before


def output_of(network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        output = network(x)
    return output["hidden"][0] if isinstance(output, dict) else output


def test_report_shows_the_code_and_a_clean_audit(study: Callable, tmp_path: Path):
    outcome = study("wine", "--epochs", 10, "--json", "--out", tmp_path / "out")
    found = outcome.result()["recommended"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert found["audit"] == []
    assert "def model():" in page and "def train(x, y, x_validation, y_validation):" in page
    assert (tmp_path / "out" / found["weights"]).is_file()
    assert [each["configuration"]["method"] for each in found["reliability"]] == ["none", "dropout"]
    assert len(found["diagnostics"]) == 3


def test_calibration_error_of_classes_is_the_distance_from_the_accuracy():
    sure = torch.tensor([[8.0, 0.0], [8.0, 0.0], [8.0, 0.0], [8.0, 0.0]]).repeat(5, 1)
    half_right = torch.tensor([0, 1]).repeat(10)
    stated, observed, errors = _of_classes([sure, sure], half_right)
    assert observed.tolist() == [0.5]
    assert stated[0] == pytest.approx(torch.tensor([8.0, 0.0]).softmax(0)[0].item())
    assert errors == pytest.approx([stated[0] - 0.5] * 2)


def test_intervals_of_a_regression_cover_their_share(tmp_path: Path):
    data, plan = load("toy", None, 0), Plan(epochs=20, hidden=(8,))
    found = reliability(data, plan, tmp_path, [run_trial(data, plan, tmp_path, TrialKey(BASELINE, seed)) for seed in range(2)])
    assert found is not None
    assert (np.diff(found.observed) >= 0).all()
    assert np.abs(found.observed - found.stated).max() < 0.15  # the noise is normal, and the validation set has 100 rows
    assert len(found.errors) == 2


def test_map_and_panels_show_every_place_and_rate(study: Callable, tmp_path: Path):
    rates, places = ("0.2", "0.5"), ("all", "input", "hidden1")
    arguments = ("wine", "--rates", ",".join(rates), "--places", ",".join(places), "--against", "weight_decay", "--full")
    outcome = study(*arguments, "--json", "--out", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    figures = json.loads(page.split('id="figures">')[1].split("</script>")[0])
    map_ = figures["map-dropout"]["data"][0]
    numbers = {
        (each["place"], f"{each['rate']:g}"): each["best"]["difference"]["mean"]
        for each in outcome.result()["configurations"][1:]
        if each["method"] == "dropout"
    }
    assert (set(map_["y"]), set(map_["x"])) == (set(places), set(rates))
    for row, place in enumerate(map_["y"]):
        for column, rate in enumerate(map_["x"]):
            assert map_["z"][row][column] == pytest.approx(numbers[place, rate])
    assert {name for name in figures if name.startswith("line-")} == {f"line-{Line(place=place).label}" for place in places}
    dots = [len(trace["x"]) for trace in figures["cost"]["data"]]
    low, high = figures["cost"]["layout"]["yaxis"]["range"]
    for trace in figures["cost"]["data"]:  # a bar that is longer than the axis looks like a grid line
        for y, above, below in zip(trace["y"], trace["error_y"]["array"], trace["error_y"]["arrayminus"], strict=True):
            assert low < y - below <= y + above < high
    assert sum(dots) == len(outcome.result()["configurations"]) - 1
    assert drawn.map_height(figures["map-dropout"]) > 3 * drawn.MAP_ROW
    assert all(f'data-figure="{name}"' in page for name in ("map-dropout", "cost", "line-dropout", "reliability"))
