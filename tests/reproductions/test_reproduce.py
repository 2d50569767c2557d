"""`thinnet reproduce`: the rule, every experiment, resuming, and the command."""

import json
import math
import struct
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from thinnet.cli import app
from thinnet.reproductions import networks, runner
from thinnet.reproductions.claim import Claim, Part, compare, overall
from thinnet.reproductions.claims import claims
from thinnet.reproductions.picture import svg
from thinnet.reproductions.pictures import Pictures, check
from thinnet.reproductions.result import reproductions
from thinnet.reproductions.store import Values

CLAIMS = claims()
SMALL = Part("x", -0.5, 0.5)


@pytest.mark.parametrize(
    ("part", "numbers", "outcome"),
    [
        (SMALL, (0.0, 0.01, -0.01), "agree"),
        (SMALL, (1.0, 1.01, 0.99), "differ"),
        (SMALL, (0.5, 0.6, 0.4), "cannot tell"),
        (Part("x", high=0.0), (-1.0, -1.1, -0.9), "agree"),
        (Part("x", high=0.0), (1.0, 1.1, 0.9), "differ"),
        (Part("x", low=0.0), (5.0, -5.0, 0.1), "cannot tell"),
        (Part("x", low=2.0), (2.0, 2.0, 2.0), "agree"),
    ],
)
def test_a_part_agrees_where_its_interval_is_in_the_predicted_range(part, numbers, outcome) -> None:
    [found] = compare([part], [{"x": number} for number in numbers])
    assert found.outcome == outcome


def test_intervals_of_several_parts_hold_together() -> None:
    values = [{"x": number, "y": number} for number in (0.0, 1.0, 2.0, 3.0)]
    [alone] = compare([Part("x")], values)
    both = compare([Part("x"), Part("y")], values)
    assert all(found.interval.high > alone.interval.high for found in both)


def test_a_claim_differs_if_one_part_does() -> None:
    values = [{"x": number, "y": number} for number in (-1.0, -1.01, -0.99)]
    below, above, near = Part("x", high=0.0), Part("y", low=0.0), Part("y", low=-1.0)
    assert overall(compare([below], values)) == "agree"
    assert overall(compare([below, above], values)) == "differ"
    assert overall(compare([below, near], values)) == "cannot tell"


def test_the_interval_holds_as_often_as_stated() -> None:
    """Of 6,000 intervals of the mean of normal numbers, 95 % hold it; a binomial count this far off has probability 1e-6."""
    draws = torch.randn(6000, 3, generator=torch.Generator().manual_seed(0)).tolist()
    intervals = [compare([Part("x")], [{"x": number} for number in row])[0].interval for row in draws]
    held = sum(each.low <= 0 <= each.high for each in intervals)
    assert abs(held - 5700) < 4.9 * math.sqrt(6000 * 0.95 * 0.05)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_an_experiment_is_a_function_of_its_seed(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """It measures what the claim predicts, leaves the generators alone, and repeats. Few epochs show that too."""
    shorten(claim, monkeypatch)
    state = torch.get_rng_state()
    first, other = claim.measure(1, Pictures()), claim.measure(2, Pictures())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(7)
    assert claim.measure(1, Pictures()) == first != other
    assert first.keys() == {part.value for part in claim.parts}
    assert all(math.isfinite(value) for value in first.values())


def shorten(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    experiment, epochs = sys.modules[claim.measure.__module__], networks.epochs

    def few(model, x, y, seed, number, **settings):
        return epochs(model, x, y, seed, min(number, 3), **settings)

    monkeypatch.setattr(networks, "epochs", few)
    for name, value in {"epochs": few, "NUMBER": 3, "WARM": 1, "STEPS": 24, "LAST": 2}.items():
        if (hasattr(experiment, name) and name != "LAST") or (name == "LAST" and claim.name == "ridge"):
            monkeypatch.setattr(experiment, name, value)


def test_claims_have_papers_and_predictions() -> None:
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS) >= 16
    for claim in CLAIMS:
        assert claim.parts and claim.says.endswith(".") and claim.task.endswith(".")
        assert any(mark in claim.source for mark in ("arXiv:", "JMLR", "introductions"))


def counted(calls: list[int]) -> Claim:
    def measure(seed: int, pictures: Pictures) -> dict[str, float]:
        calls.append(seed)
        return {"x": float(seed % 2) - 10}

    measure.__module__ = "thinnet.reproductions.experiments.ridge"
    return Claim("counted", "arXiv:0", "A claim.", "A task.", (Part("x", high=0.0),), measure)


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    claim, url = counted(calls), f"sqlite:///{tmp_path / 'values.db'}"
    monkeypatch.setattr(runner, "load", lambda names: [claim])
    running = runner.run([claim], 4, Pictures(), url, 1)
    next(running), next(running)
    running.close()
    assert len(list(runner.run([claim], 4, Pictures(), url, 1))) == 4
    assert sorted(calls) == [101, 102, 103, 104]
    assert Values(url, claim, Pictures()).finished() == {seed: {"x": float(seed % 2) - 10} for seed in calls}


def test_other_pictures_have_their_own_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, url = counted([]), f"sqlite:///{tmp_path / 'values.db'}"
    Values(url, claim, Pictures()).add(1, {"x": 1.0})
    monkeypatch.setattr(Pictures, "digest", lambda self: "another")
    assert Values(url, claim, Pictures()).finished() == {}


def test_the_picture_shows_every_part_and_loads_nothing() -> None:
    values = {claim.name: [{part.value: seed / 7 for part in claim.parts} for seed in range(3)] for claim in CLAIMS}
    found = reproductions(values, CLAIMS, "digits")
    picture = svg(found)
    assert picture.count("<circle") == sum(len(claim.parts) for claim in CLAIMS)
    assert "http" not in picture.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert found.summary() in picture and str(found).count("\n") > len(CLAIMS)


def test_pictures_of_the_user(tmp_path: Path) -> None:
    """Files in the form of MNIST take the place of the digits."""
    digits = Pictures().split(0, 1797, test=0)
    pixels, labels = (digits.x * 255).round().to(torch.uint8), digits.y.to(torch.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, 1797, 8, 8) + pixels.numpy().tobytes())
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, 1797) + labels.numpy().tobytes())
    data = check(str(tmp_path)).split(3, 900)
    assert data.x.shape == (900, 1, 8, 8) and data.x_test.shape[0] == 800 and data.classes == 10
    assert data.x.min() == 0 and data.x.max() == 1
    assert check(str(tmp_path)).digest() != Pictures().digest()
    few = check(str(tmp_path)).split(3, 5, test=2)
    assert not any((few.x == other).flatten(1).all(1).any() for other in few.x_test)


def run(*arguments: str):
    return CliRunner().invoke(app, ["reproduce", *arguments])


def test_the_command_measures_and_goes_on(tmp_path: Path) -> None:
    """Ridge regression is quick, and exact enough for three seeds."""
    arguments = ("ridge", "--seeds", "3", "--jobs", "1", "--out", str(tmp_path))
    first = run(*arguments, "--json")
    assert first.exit_code == 0
    [claim] = json.loads(first.stdout)["claims"]
    assert claim["outcome"] == "agree" and claim["seeds"] == 3
    assert json.loads((tmp_path / "reproductions.json").read_text())["claims"] == [claim]
    again = run(*arguments)
    assert again.exit_code == 0 and "agree" in again.stdout and claim["says"] in again.stdout


def test_the_command_lists_claims_and_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    listed = run()
    assert listed.exit_code == 0 and all(claim.name in listed.stdout for claim in CLAIMS)
    for arguments, words in (
        (["lower-los"], "got 'lower-los'"),
        (["ridge", "--data", str(tmp_path / "missing"), "--out", str(tmp_path)], "does not exist"),
        (["ridge", "--out", __file__], "--out must be a folder"),
    ):
        refused = run(*arguments)
        assert refused.exit_code == 2 and words in refused.stderr and not refused.stdout
