"""`thinnet sites` and `thinnet audit`: their output and their exit codes."""

import json
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
        (("sites", "{}:build"), "has no 'build'. It has Network, make, make_right, make_nothing."),
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
