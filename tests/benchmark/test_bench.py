"""`thinnet.bench`: it changes nothing, and it gives advice only where a difference is beyond the noise."""

import json
import random
from math import comb
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner, Result

import thinnet
from thinnet.benchmark.result import advice_on
from thinnet.benchmark.timing import _cut, ratio
from thinnet.cli import app

QUICK = {"seconds": 0.01, "compiled": False}
NAMES = ["as it is", "without dropout", "thinnet", "fused", "thinned"]
NOTHING = "No change makes a step faster by 2 % or more beyond the noise."


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 64), nn.Dropout(0.5), nn.Linear(64, 4)
    )


class Named(nn.Module):
    """A model with a named input and a loss of its own, as those of Hugging Face."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(nn.functional.dropout(self.layer(x), 0.5, self.training), labels)


def test_the_model_is_unchanged() -> None:
    model, x = network().eval(), torch.randn(16, 8)
    model(x).sum().backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    modules, generator = list(model), torch.get_rng_state()
    thinnet.bench(model, x, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1), **QUICK)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert all(one.grad.equal(other) for one, other in zip(model.parameters(), gradients, strict=True))
    assert list(model) == modules and not any(module.training for module in model.modules())
    assert torch.get_rng_state().equal(generator)


def test_every_variant_has_its_row_and_the_mask_its_memory() -> None:
    found = thinnet.bench(network(), torch.randn(256, 8), **QUICK)
    assert [variant.name for variant in found.variants] == NAMES
    assert found["as it is"].kept > found["thinnet"].kept >= found["without dropout"].kept > 0
    assert all(variant.ratio.low <= variant.ratio.median <= variant.ratio.high for variant in found.variants)
    assert [site.name for site in found.sites] == ["3", "5"] and found.advice in str(found)
    assert [each["name"] for each in json.loads(found.json())["variants"]] == NAMES


def test_functions_named_inputs_and_own_losses_are_measured() -> None:
    found = thinnet.bench(Named(), torch.randn(16, 8), labels=torch.zeros(16, dtype=torch.long), **QUICK)
    assert [variant.name for variant in found.variants] == NAMES[:3]
    assert all(any(note.startswith(f"{name}: ") for note in found.notes) for name in ("fused", "thinned"))


def test_a_model_that_is_ours_has_no_row_for_it() -> None:
    model = network()
    thinnet.replace(model)
    thinnet.DropoutRNG(0).bind(model)
    found = thinnet.bench(model, torch.randn(16, 8), **QUICK)
    assert [variant.name for variant in found.variants] == ["as it is", "without dropout", "fused", "thinned"]


@pytest.mark.parametrize(
    ("call", "kind", "rule"),
    [
        (lambda: thinnet.bench(3, torch.ones(2)), TypeError, "bench: model must be a torch.nn.Module"),
        (lambda: thinnet.bench(network()), ValueError, "bench: example must be"),
        (lambda: thinnet.bench(network(), torch.ones(2, 8), seconds=0), ValueError, "bench: seconds must be a positive number"),
        (lambda: thinnet.bench(network(), torch.ones(2, 8), loss=lambda y: y), ValueError, "bench: loss must return a scalar"),
        (
            lambda: thinnet.bench(nn.Sequential(nn.Dropout()), torch.ones(2, 8)),
            ValueError,
            "bench: model must return a tensor with",
        ),
    ],
)
def test_bad_input_is_refused(call, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=rule):
        call()


@pytest.mark.parametrize("count", [10, 11, 25, 100])
def test_an_interval_misses_the_median_once_in_a_hundred(count: int) -> None:
    def missed(cut: int) -> float:
        return 2 * sum(comb(count, below) for below in range(cut + 1)) / 2**count

    assert missed(_cut(count)) <= 0.01 < missed(_cut(count) + 1)


def test_noise_alone_gives_no_advice() -> None:
    chance = random.Random(0)
    wrong = 0
    for _ in range(200):
        times = {name: [chance.lognormvariate(0, 0.3) for _ in range(40)] for name in NAMES}
        wrong += not advice_on(times).startswith(NOTHING)
    assert wrong <= 4  # 2 alternatives, 99 % intervals with one side each: 2 of 200 are expected


def noisy(median: float, seed: int) -> list[float]:
    chance = random.Random(seed)
    return [median * chance.lognormvariate(0, 0.05) for _ in range(60)]


def test_advice_is_the_smallest_change_that_no_other_beats() -> None:
    times = {"as it is": noisy(2.0, 0), "without dropout": noisy(1.8, 1), "thinnet": noisy(1.5, 2), "compiled": noisy(1.49, 3)}
    assert advice_on(times).startswith("thinnet.replace(model) takes 0.7")
    assert advice_on(times | {"thinned": noisy(1.0, 4)}).endswith("The samples of a batch then share one mask.")
    assert advice_on(times | {"thinnet": noisy(1.99, 5), "compiled": noisy(2.1, 6)}).startswith(f"{NOTHING} Dropout costs 1")
    assert ratio(times, "thinnet", "as it is").faster and ratio(times, "as it is", "thinnet").slower


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "measured.py"
    path.write_text("from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5))\n")
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments, "--seconds", "0.1", "--no-compile"], env={"COLUMNS": "120"})


def test_the_command_prints_a_table_or_json(file: str) -> None:
    shown = run(f"{file}:make", "--input", "4x8")
    assert shown.exit_code == 0, shown.output
    assert all(word in shown.stdout for word in ("without dropout", "99 % interval", "KiB kept", "dropout by site"))
    assert json.loads(run(f"{file}:make", "--input", "4x8", "--json").stdout)["advice"]


def test_the_command_refuses_bad_input_in_one_sentence(file: str) -> None:
    for arguments, words in (
        ([f"{file}:make"], "bench: --input is required"),
        ([f"{file}:made", "--input", "4x8"], "Did you mean make?"),
        ([f"{file}:make", "--input", "4x9"], "with --input 4x9"),
    ):
        shown = run(*arguments)
        assert (shown.exit_code, shown.stdout) == (2, "")
        assert words in shown.stderr and shown.stderr.count("\n") == 1
