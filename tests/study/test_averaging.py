"""Monte-Carlo averages in a study, compared with a single deterministic pass."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import thinnet
from thinnet.study.data.preparing import prepare
from thinnet.study.data.tables import read_table
from thinnet.study.data.tasks import Classification, Regression
from thinnet.study.design.configuration import Configuration, TrialKey
from thinnet.study.design.plan import Plan
from thinnet.study.evidence.agreement import Evidence
from thinnet.study.evidence.contrast import Contrast
from thinnet.study.evidence.statistics import Interval
from thinnet.study.findings import averaging
from thinnet.study.findings.averaging import SAMPLES, averaged, averages_on_test, averaging_text
from thinnet.study.training.network import seeded_network
from thinnet.study.training.trial import CURVES, Trial
from thinnet.study.training.weights import save_weights, weights_path

CLASSES = Classification(("a", "b", "c"))

HALF = Configuration("dropout", 0.5)


def contrast(value: float, low: float, high: float) -> Contrast:
    return Contrast(0.5 + value, 0.5, Interval(value, low, high, 0.5), evidence=Evidence(high < 0, low > 0, 0.01))


def test_probabilities_are_averaged_and_values_too() -> None:
    draws = torch.randn(7, 5, 3)
    output = averaged(draws, CLASSES)
    torch.testing.assert_close(output.exp(), draws.softmax(-1).mean(0))
    torch.testing.assert_close(CLASSES.loss(output, torch.zeros(5).long()), -draws.softmax(-1).mean(0)[:, 0].log())
    torch.testing.assert_close(averaged(draws[..., :1], Regression(0.0, 1.0)), draws[..., :1].mean(0))


def test_rows_are_scored_by_the_average_of_addressed_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaging, "SAMPLES", 4)
    data, plan = prepare(read_table(None, None), None, 0), Plan(rates=(0.5,), epochs=1, hidden=(16,))
    network, other = (seeded_network(data, plan, HALF, seed=seed) for seed in (3, 4))
    save_weights(weights_path(tmp_path, TrialKey(HALF, 0)), {"best": network.state_dict(), "last": other.state_dict()})
    trial = Trial(HALF, 0, {name: [1.0] for name in CURVES}, 0, 1.0)
    scores = averages_on_test(data, plan, tmp_path, [trial])
    rng, rows = thinnet.DropoutRNG(plan.seed).bind(network.train()), []
    with torch.no_grad():
        for step in range(4):
            rng.at(step, data.test.ids.tolist())
            rows.append(network(torch.from_numpy(data.test.x)))
    output = torch.stack(rows).softmax(-1).mean(0).log()
    loss = data.task.loss(output, torch.from_numpy(data.test.y)).double()
    np.testing.assert_allclose(scores["loss"], loss[None].numpy(), rtol=1e-4, atol=1e-5)
    assert scores["error"].shape == scores["loss"].shape and SAMPLES == 50


@pytest.mark.parametrize(
    ("interval", "advice"),
    [
        ((0.1, 0.05, 0.15), "single pass is better"),
        ((-0.1, -0.2, -0.05), "distill"),
        ((0.0, -0.1, 0.1), "use the single pass"),
    ],
)
def test_the_sentence_names_the_better_and_the_next_step(interval: tuple[float, float, float], advice: str) -> None:
    text = averaging_text({"loss": contrast(*interval), "error": contrast(*interval)}, CLASSES, "p = 0.5")
    assert advice in text and "The average of 50 sub-networks at p = 0.5 has a test NLL of" in text


def test_the_report_and_the_document_hold_the_averages(study: Callable, csv: Path, tmp_path: Path) -> None:
    for target in ("label", "amount"):
        outcome = study(csv, "--target", target, "--out", tmp_path / target, "--json")
        found, chosen = outcome.result()["averages"], outcome.result()["verdict"]["chosen"]
        page = (tmp_path / target / "index.html").read_text()
        assert (found is None) == (chosen["method"] == "none") == ("One deterministic pass, or the average" not in page)
        if found is not None:
            assert found["networks"] == 50 and found["loss"]["without"] > 0 and "sub-networks" in found["sentence"]
