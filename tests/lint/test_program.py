"""`thinnet lint` as a command of the program: it takes its own arguments, and its absence is one sentence."""

import sys

import pytest
from typer.testing import CliRunner, Result

from thinnet.cli import app

BAD = "import torch.nn.functional as F\n\n\ndef f(x):\n    return F.dropout(x, 0.5)\n"


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(app, ["lint", *arguments], input=given)


def test_findings_are_exit_code_one_and_none_is_zero() -> None:
    found = run("-", given=BAD)
    assert found.exit_code == 1 and "THN101" in found.stdout
    assert run("-", "--ignore", "THN101", given=BAD).exit_code == 0


def test_options_and_help_are_its_own() -> None:
    assert "What it does" in run("--explain", "THN101").stdout
    assert "--unsafe-fixes" in run("--help").stdout
    assert run("--no-such-option").exit_code == 2


def test_without_its_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "libcst" or name.startswith("thinnet.lint")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "libcst", None)
    missing = run("-", given=BAD)
    assert missing.exit_code == 2 and "pip install 'thinnet[lint]'" in missing.stderr
