"""`thinnet sites` and `thinnet audit`: their output and their exit codes."""

import json
import sys
import sysconfig
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from thinnet.cli import app

NETWORK = """
import torch.nn as nn
import torch.nn.functional as F


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(32, 64), nn.Dropout(0.5), nn.Linear(64, 4)

    def forward(self, x):
        x = self.drop(F.relu(self.first(x)))
        return self.last(F.dropout(x.sin(), 0.2))


def make():
    return Network()


def make_right():
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 4))


def make_nothing():
    return 3


def make_for(width):
    return nn.Linear(width, 4)


def make_late():
    import no_such_library


def make_failing():
    raise ValueError("the weights are gone\\nfor ever")


number = 3
model = Network()
"""


@pytest.fixture
def network(tmp_path: Path) -> str:
    path = tmp_path / "a_network.py"
    path.write_text(NETWORK)
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})


def test_sites_prints_a_table_and_writes_a_page(network: str, tmp_path: Path) -> None:
    drawn = tmp_path / "sites.html"
    result = run("sites", f"{network}:make", "--input", "64x32", "--html", str(drawn))
    assert result.exit_code == 0, result.output
    assert all(word in result.stdout for word in ("drop", "a_network.py:13", "0.2", "train, eval"))
    assert "ON IN EVAL" in drawn.read_text()


def test_sites_prints_json_and_needs_no_input(network: str) -> None:
    found = json.loads(run("sites", f"{network}:make", "--input", "64x32", "--json").stdout)["sites"]
    assert [(site["name"], site["p"], site["on_in_eval"]) for site in found] == [("drop", 0.5, False), ("", 0.2, True)]
    result = run("sites", f"{network}:make")
    assert result.exit_code == 0 and "not seen" in result.stdout


def test_audit_exits_with_1_for_findings_and_0_without(network: str) -> None:
    result = run("audit", f"{network}:make", "--input", "64x32")
    assert result.exit_code == 1 and "AUD101 error: random in eval" in result.stdout and "1 finding, " in result.stdout
    allowed = run("audit", f"{network}:make", "--input", "64x32", "--allow", "AUD101*=it samples")
    assert allowed.exit_code == 0 and "allowed: it samples" in allowed.stdout
    assert run("audit", f"{network}:make_right", "--input", "64x32").exit_code == 0


def test_audit_has_formats_for_other_programs(network: str) -> None:
    arguments = ("audit", f"{network}:make", "--input", "64x32")
    assert json.loads(run(*arguments, "--json").stdout)[0]["code"] == "AUD101"
    assert json.loads(run(*arguments, "--format", "sarif").stdout)["version"] == "2.1.0"
    assert ElementTree.fromstring(run(*arguments, "--format", "junit").stdout).get("failures") == "1"
    assert run(*arguments, "--format", "github").stdout.startswith("::error file=")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sites", "nowhere.py:make"), "sites: there is no file 'nowhere.py'."),
        (("sites", "{}:mak"), "has no 'mak'. Did you mean make"),
        (
            ("sites", "{}:xyz"),
            "has no 'xyz'. It defines Network, make, make_right, make_nothing, make_for, make_late and others.",
        ),
        (("sites", "{}:number"), "number must be a function, a class or a torch.nn.Module; got int."),
        (
            ("sites", "{}:make_for"),
            "a factory must take no arguments; make_for takes width. Write a function that returns make_for",
        ),
        (("sites", "{}:make_late"), "a_network.py:33 imports 'no_such_library', which cannot be found. Install it"),
        (("sites", "{}:make_failing"), "a_network.py:37 raises ValueError: the weights are gone. For the traceback, call"),
        (("sites", ".models:make"), "'.models' is neither in this folder nor installed. Give FILE.py:FACTORY."),
        (("sites", "no_such_package.models:make"), "'no_such_package.models' is neither in this folder nor installed."),
        (("sites", "torch.nn:Linear"), "a factory must take no arguments; Linear takes in_features: int, out_features: int."),
        (("sites", "{}:make", "--input", "64x31"), "64x31 and 32x64), with --input 64x31. Give a shape such as"),
        (("audit", "{}:make", "--input", "64x32", "--input", "3"), "TypeError: Network.forward() takes 2 positional"),
        (("audit", "{}:model", "--input", "64x32:int64"), "with --input 64x32:int64. Give a shape"),
        (("audit", "{}:model", "--input", "64x32:int64:0"), "audit: --input must be a shape"),
        (("sites", "{}"), "sites: MODEL must be FILE.py:FACTORY or package.module:FACTORY"),
        (("sites", "{}:make_nothing"), "sites: make_nothing must return a torch.nn.Module; got int."),
        (("sites", "{}:make", "--input", "4xx3"), "sites: --input must be a shape such as 4x3x32x32"),
        (("audit", "{}:make"), "audit: --input is required"),
        (("audit", "{}:make", "--input", "64x32", "--allow", "AUD101"), "audit: --allow must be CODE MODULE=REASON"),
    ],
)
def test_bad_input_prints_one_line_and_exits_with_2(network: str, arguments: tuple[str, ...], message: str) -> None:
    result = run(*(argument.format(network) for argument in arguments))
    assert result.exit_code == 2 and message in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import torch\nimport no_such_library", "broken.py:2 imports 'no_such_library', which cannot be found. Install it"),
        ("from torch import no_such_name", "broken.py:1 raises ImportError: cannot import name 'no_such_name' from 'torch'"),
        (
            "from .layers import make",
            "broken.py:1 raises ImportError: attempted relative import with no known parent package. Give",
        ),
        ("def make(:", "broken.py:1 is not valid Python: invalid syntax."),
        ("import sys\nsys.exit()", "broken.py:2 ends the program. Put what a script does under"),
        ("\n\n1 / 0", "broken.py:3 raises ZeroDivisionError: division by zero. For the traceback, run python"),
        ("from torch import nn", "It defines no function, class or model."),
        ("x = 1\0", "source code string cannot contain null bytes. For the traceback, run python"),
    ],
)
def test_a_file_that_fails_is_one_sentence_with_its_place(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "broken.py").write_text(code)
    for command in ("sites", "audit"):
        result = run(command, f"{tmp_path / 'broken.py'}:make", "--input", "2x3")
        assert result.exit_code == 2 and result.stdout == ""
        assert result.stderr.startswith(f"{command}: ") and message in result.stderr and result.stderr.count("\n") == 1


def test_an_error_that_is_not_the_users_keeps_its_traceback(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_, **__) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr("thinnet.models.command.sites", failing)
    result = run("sites", f"{network}:make", "--input", "64x32")
    assert isinstance(result.exception, RuntimeError) and result.exit_code == 1


def test_what_the_users_code_prints_is_not_in_the_json(tmp_path: Path) -> None:
    printing = "from torch import nn\nprint('epoch 1')\ndef make():\n    print('made')\n    return nn.Dropout(0.5)\n"
    (tmp_path / "prints.py").write_text(printing)
    result = run("sites", f"{tmp_path / 'prints.py'}:make", "--input", "2x3", "--json")
    assert json.loads(result.stdout)["sites"] and result.stderr == "epoch 1\nmade\n"


def test_a_file_does_not_hide_a_library_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("from torch import nn\ndef make():\n    return nn.Dropout(0.5)\n")
    import random

    assert run("sites", f"{tmp_path / 'random.py'}:make").exit_code == 0
    assert __import__("random") is random
    paths = [sys.path.index(path) for path in (sysconfig.get_path("stdlib"), str(tmp_path))]
    assert paths == sorted(paths)  # a worker process, which imports anew, gets the library's too


def test_a_site_is_one_line_where_the_output_is_no_terminal(tmp_path: Path) -> None:
    deep = "m = nn.Dropout(0.5)\nfor _ in range(30):\n    m = nn.Sequential(m)\n"
    (tmp_path / "deep.py").write_text(f"from torch import nn\n{deep}")
    result = CliRunner().invoke(app, ["sites", f"{tmp_path / 'deep.py'}:m", "--input", "64x3"], env={"COLUMNS": "40"})
    lines = [line for line in result.stdout.splitlines() if ".".join(["0"] * 30) in line]
    assert len(lines) == 1 and "train" in lines[0]


def test_a_package_that_fails_is_one_sentence_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "__init__.py").write_text("import no_such_library\n")
    (tmp_path / "a_package" / "models.py").write_text("def make(): ...\n")
    monkeypatch.chdir(tmp_path)
    result = run("sites", "a_package.models:make")
    assert result.exit_code == 2 and "__init__.py:1 imports 'no_such_library', which cannot be found" in result.stderr
