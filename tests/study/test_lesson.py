"""The made regressions: their truth is known, and the report shows what dropout did to it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from thinnet.nn import Dropout
from thinnet.study.data.builtin import load
from thinnet.study.data.functions import FUNCTIONS, sampled
from thinnet.study.design.configuration import Configuration, TrialKey
from thinnet.study.design.plan import Plan
from thinnet.study.design.problems import PROBLEMS
from thinnet.study.findings import lesson as lessons
from thinnet.study.training.network import seeded_network
from thinnet.study.training.trial import train

SHORT = ("--epochs", "4", "--batch", "20")

HALF = Configuration("dropout", 0.5)


@pytest.mark.parametrize("name", [name for name, problem in PROBLEMS.items() if not problem.file])
def test_every_built_in_problem_loads(name: str):
    data = load(name, None, seed=0)
    assert data.name == name
    assert min(map(len, (data.train, data.validation, data.test))) >= 30
    assert data.fingerprint() == load(name, None, seed=0).fingerprint()
    assert data.fingerprint() != load(name, None, seed=1).fingerprint()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_samples_scatter_around_the_function(name: str):
    data, function = sampled(name, seed=3), FUNCTIONS[name]
    errors = data.test.y * data.task.scale + data.task.mean - function.value(data.test.x)
    assert np.std(errors) == pytest.approx(function.noise, rel=0.1)  # 4.5 standard errors for 1000 rows
    assert abs(np.mean(errors)) < 4.5 * function.noise / len(errors) ** 0.5


@pytest.mark.parametrize("name", FUNCTIONS)
def test_report_of_a_made_regression_shows_the_lesson(name: str, tmp_path: Path, study: Callable):
    outcome = study(name, *SHORT, "--json", "--out", tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert outcome.code == 0
    assert outcome.result() == study(name, *SHORT, "--json", "--out", tmp_path / "again").result()
    figures = json.loads(page.split('id="figures">')[1].split("</script>")[0])
    wanted = {each.split('"')[0] for each in page.split('data-figure="')[1:]}
    assert wanted <= figures.keys()
    assert {f"lesson-rate-{rate}" for rate in ("0", "0.3", "0.6")} <= wanted
    assert "Three reasons, measured" in page
    assert FUNCTIONS[name].formula in page


def test_settings_of_a_problem_give_way_to_the_user(tmp_path: Path, study: Callable):
    plan = json.loads(study("toy", *SHORT, "--json", "--out", tmp_path).out)["plan"]
    assert (plan["epochs"], plan["batch"], plan["learning_rate"]) == (4, 20, 3e-3)


def test_drawn_masks_are_those_of_training(monkeypatch: pytest.MonkeyPatch):
    data, plan = sampled("toy", 0), Plan(rates=(0.5,), epochs=1, hidden=(8, 6), batch=60)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    forward = Dropout.forward

    def recorded(self: Dropout, x: torch.Tensor) -> torch.Tensor:
        y = forward(self, x)
        if self.training:
            seen.append((x != 0, y != 0))
        return y

    monkeypatch.setattr(Dropout, "forward", recorded)
    train(data, plan, TrialKey(HALF, 0))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(lessons.seeds_of(plan, 0).batches)).tolist()
    for found in lessons._subnetworks(seeded_network(data, plan, HALF, 0), data, plan):
        for (before, after), kept in zip(seen[:2], found.kept, strict=True):
            row = order.index(found.sample)
            assert torch.equal(after[row], before[row] & torch.from_numpy(kept))


def test_target_of_a_built_in_problem_is_refused(tmp_path: Path, study: Callable):
    outcome = study("toy", "--target", "y", "--out", tmp_path / "out")
    assert (outcome.code, "the option must come with a table" in outcome.err) == (2, True)
