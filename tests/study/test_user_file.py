"""A study of the user's own model and data: three examples run, and every mistake in the file is one sentence."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from thinnet.models.edit.checks import matches
from thinnet.models.edit.rates import owners
from thinnet.study.data.dataset import Dataset
from thinnet.study.data.user_data import load_file
from thinnet.study.data.user_file import UserFile, open_file, scored
from thinnet.study.design.configuration import Configuration
from thinnet.study.design.plan import Plan
from thinnet.study.design.problems import PROBLEMS, network_file
from thinnet.study.training.network import seeded_network

NETWORKS = [name for name, problem in PROBLEMS.items() if problem.file]
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "study").glob("*.py"))
GOOD = """
import torch
from torch import nn

epochs = 2

def model():
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))

def data():
    x = torch.randn(90, 5, generator=torch.Generator().manual_seed(0))
    return x, x[:, :3].argmax(1)
"""


def written(folder: Path, text: str = GOOD) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


def load(folder: Path, text: str = GOOD) -> Dataset:
    return load_file(open_file(written(folder, text)), "mine.py", None, seed=0)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(path: Path, tmp_path: Path, study: Callable):
    outcome = study(path, "--json", "--rates", "0.3", "--epochs", "1", "--seeds", "1", "--out", tmp_path)
    found = json.loads(outcome.out)
    assert outcome.code == 0
    assert found["plan"]["epochs"] == 1
    assert "the rate is set at" in found["data"]["notes"][0]
    assert (tmp_path / "index.html").is_file()


@pytest.mark.parametrize("name", NETWORKS)
def test_built_in_networks_run(name: str, tmp_path: Path, study: Callable):
    found = json.loads(study(name, "--json", "--rates", "0.3", "--epochs", "1", "--seeds", "1", "--out", tmp_path).out)
    assert found["data"]["name"] == name
    assert found["plan"]["rates"] == [0.0, 0.3]
    assert found["configurations"][0]["best"]["validation_loss"] < 5


def test_result_does_not_depend_on_processes_and_resumes(tmp_path: Path, study: Callable):
    path = written(tmp_path)
    whole = study(path, "--json", "--out", tmp_path / "one").result()
    assert whole["plan"]["epochs"] == 3  # the option wins over the file
    study(path, "--json", "--seeds", "1", "--out", tmp_path / "two")
    assert study(path, "--json", "--jobs", "2", "--out", tmp_path / "two").result() | {"test_looks": 0} == whole | {
        "test_looks": 0
    }


def test_data_that_are_drawn_are_the_same_in_the_run_that_resumes(tmp_path: Path):
    text = GOOD.replace(", generator=torch.Generator().manual_seed(0)", "")
    one, other = (load(tmp_path, text).fingerprint() for _ in range(2))
    assert one == other


def test_another_text_of_the_file_is_another_study(tmp_path: Path, study: Callable):
    study(written(tmp_path), "--out", tmp_path / "out")
    outcome = study(written(tmp_path, GOOD + "\n# changed\n"), "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "must be new or hold this same study" in outcome.err


def test_rates_share_initial_weights_and_have_their_rate(tmp_path: Path):
    data = load(tmp_path)
    one, other = (seeded_network(data, Plan(), Configuration("dropout", rate), seed=3) for rate in (0.0, 0.5))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    assert [owner.p for owner in owners(other)] == [0.5]


def test_model_without_dropout_gets_it_where_the_catalogue_advises(tmp_path: Path):
    data = load(tmp_path, GOOD.replace("nn.Dropout(0.1), ", ""))
    assert [owner.p for owner in owners(seeded_network(data, Plan(), Configuration("dropout", 0.3), seed=0))] == [0.3]


def test_three_given_sets_stay_as_they_are(tmp_path: Path):
    text = GOOD.replace("return x, x[:, :3].argmax(1)", "return [(x[i::3], x[i::3, 0]) for i in range(3)]")
    data = load(tmp_path, text.replace("16, 3", "16, 1"))
    assert data.task.name == "regression"
    assert [len(part) for part in (data.train, data.validation, data.test)] == [30, 30, 30]
    assert data.split == "as the file gives them"
    assert data.development.y.mean() == pytest.approx(0, abs=1e-6)
    assert [part.ids.tolist() for part in data.sets(3)] == [list(range(30)), list(range(30, 60))]


def test_loss_metric_and_optimizer_of_the_file_are_used(tmp_path: Path, study: Callable):
    own = """
def loss(output, y): return nn.functional.cross_entropy(output, y, reduction="none")
def metric(output, y): return (output.argmax(1) != y).float()
def optimizer(parameters): return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
"""
    found = study(written(tmp_path, GOOD + own), "--json", "--out", tmp_path / "out").result()
    assert (found["data"]["loss"], found["data"]["error"], found["naive"]) == ("loss", "metric", None)
    assert 0 <= found["configurations"][0]["best"]["validation_error"] <= 1


def test_scored_output():
    x = torch.ones(1)
    assert scored(x) is scored((x, None)) is scored({"a": x}) is scored(type("Output", (), {"logits": x})())


def test_file_travels_to_a_process_without_its_module(tmp_path: Path):
    import pickle

    file = open_file(written(tmp_path))
    assert file.module.epochs == 2
    assert pickle.loads(pickle.dumps(file)) == UserFile(file.path, file.digest)


FIXED = """
class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return nn.functional.dropout(self.drop(x), 0.2, self.training)
"""


def test_dropout_that_the_study_cannot_set_is_named_with_its_line(tmp_path: Path):
    (warning,) = load(tmp_path, GOOD.replace("nn.Dropout(0.1)", "Fixed()") + FIXED).warnings
    assert warning.startswith("mine.py:20 drops units at every rate, also at p = 0")
    assert load(tmp_path).warnings == ()


def test_targets_of_two_truth_values_are_classes_and_of_two_floats_are_not(tmp_path: Path):
    one = GOOD.replace("16, 3", "16, 1")
    assert load(tmp_path, GOOD.replace("x[:, :3].argmax(1)", "x[:, 0] > 0")).task.name == "classification"
    data = load(tmp_path, one.replace("x[:, :3].argmax(1)", "(x[:, 0] > 0).float()"))
    assert (data.task.name, "For classes, return integers" in data.warnings[0]) == ("regression", True)


MISTAKES = {
    "no model": (GOOD.replace("def model", "def other"), "the file must define model()"),
    "a training script": ("raise SystemExit('it trained')\nmodel = 3", "the file must define data()"),
    "model with an argument": (GOOD.replace("def model()", "def model(width)"), "must need no arguments; got model(width)"),
    "data in a loader": (
        GOOD.replace("return x, ", "return torch.utils.data.DataLoader(x), "),
        "got DataLoader. Return its samples: x, y = zip(*loader.dataset)",
    ),
    "targets of texts": (GOOD.replace("x[:, :3].argmax(1)", "['a', 'b', 'c'] * 30"), "Number the classes: numpy.unique("),
    "rate that is fixed": (
        GOOD.replace("nn.Dropout(0.1)", "Fixed()") + FIXED.replace("self.drop(x)", "x"),
        "got 2.drop, which forward() does not call, and a rate in mine.py:20",
    ),
    "model is no function": (GOOD + "\nmodel = 3\n", "model must be a function"),
    "model is no module": (GOOD.replace("return nn.Sequential", "return list"), "raises"),
    "import": ("import not_there_at_all\n" + GOOD, "imports 'not_there_at_all', which cannot be found"),
    "syntax": (GOOD + "\ndef broken(:\n", "is not valid Python"),
    "error in data": (GOOD.replace("x = torch.randn(90", "x = torch.rand_n(90"), "raises AttributeError"),
    "wrong shape": (GOOD.replace("nn.Linear(5, 16)", "nn.Linear(7, 16)"), "raises RuntimeError"),
    "error at a rate of 0": (
        GOOD.replace("def model(", "def plain(")
        + "\ndef fails(self, x):\n    rates = [getattr(each, 'p', 0) for each in self.modules()]\n"
        + "    if self.training and not any(rates):\n        [].pop()\n"
        + "\ndef model():\n    network = plain()\n    network.register_forward_pre_hook(fails)\n    return network\n",
        "raises IndexError: pop from empty list. Let model() take the first 3 samples of data() in train mode, at a rate of 0.",
    ),
    "error in train mode": (
        GOOD.replace("def model(", "def plain(")
        + "\ndef model():\n    network = plain()\n"
        + "    network.register_forward_pre_hook(lambda self, x: [].pop() if self.training else None)\n    return network\n",
        "raises IndexError: pop from empty list. Let model() take the first 3 samples of data() in train mode",
    ),
    "too few outputs": (
        GOOD.replace("nn.Linear(16, 3)", "nn.Linear(16, 2)"),
        "got shape (3, 2) for targets of shape (3,) with 3 classes",
    ),
    "outputs of a number": (GOOD.replace(".argmax(1)", ".sum(1)"), "the output must have one number for each sample"),
    "one number": (GOOD.replace("return x, x[:, :3].argmax(1)", "return x"), "data() must return (x, y)"),
    "few samples": (GOOD.replace("90, 5", "9, 5"), "samples must be at least 50; got 9"),
    "lengths": (GOOD.replace("x[:, :3]", "x[1:, :3]"), "one row for each sample"),
    "loss of the mean": (GOOD + "\ndef loss(output, y): return output.mean()\n", "loss must return one number a sample"),
    "epochs of words": (GOOD.replace("epochs = 2", "epochs = 'many'"), "epochs must be a number"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_in_the_file_is_one_sentence(case: str, tmp_path: Path, study: Callable):
    text, words = MISTAKES[case]
    outcome = study(written(tmp_path, text), "--out", tmp_path / "out")
    assert outcome.code == 2
    assert words in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_given_test_set_with_subgroups(tmp_path: Path, study: Callable):
    text = GOOD.replace(
        "return x, x[:, :3].argmax(1)", "y = x[:, :3].argmax(1)\n    return (x[:60], y[:60]), (x[60:], y[60:], ['a', 'b'] * 15)"
    )
    data = load(tmp_path, text)
    assert (len(data.train), len(data.validation), len(data.test)) == (45, 15, 30)
    assert data.test.ids.tolist() == list(range(60, 90))
    assert data.sets(0)[0].ids.tolist() != data.sets(1)[0].ids.tolist()
    found = study(written(tmp_path, text), "--json", "--out", tmp_path / "out").result()
    means = [found["subgroups"][name]["loss"]["chosen"] for name in ("a", "b")]
    assert sum(means) / 2 == pytest.approx(found["test"]["best"]["loss"]["chosen"])


def test_sites_of_a_file_are_those_it_names(tmp_path: Path):
    text = GOOD.replace("nn.Dropout(0.1)", "nn.Dropout(0.1), nn.Dropout(0.2)") + '\nplaces = "2"\n'
    network = seeded_network(load(tmp_path, text), Plan(), Configuration("dropout", 0.5), seed=0)
    assert [owner.p for owner in owners(network)] == [0.5, 0.0]


PAGE = (Path(__file__).parents[2] / "docs" / "study_own.md").read_text(encoding="utf-8")
SHOWN = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "def model" in block]


@pytest.mark.parametrize("text", SHOWN, ids=["script", "cnn", "transformer", "graph"])
def test_examples_of_the_page_are_studied(text: str, tmp_path: Path, study: Callable):
    outcome = study(
        written(tmp_path, text), "--json", "--rates", "0.3", "--epochs", "1", "--seeds", "1", "--out", tmp_path / "out"
    )
    assert outcome.code == 0
    assert len(json.loads(outcome.out)["configurations"]) == 2


@pytest.mark.parametrize("name", NETWORKS)
def test_built_in_networks_have_the_sites_they_name_and_a_width(name: str):
    file = open_file(network_file(name))
    names = [owner.name for owner in owners(file.network()) if not owner.idle]
    for pattern in file.places.split("+"):
        assert any(matches(each, pattern) for each in names)
    sizes = [sum(parameter.numel() for parameter in file.network(width).parameters()) for width in (0.5, 1.0)]
    assert file.takes_width
    assert sizes[0] < 0.7 * sizes[1]
