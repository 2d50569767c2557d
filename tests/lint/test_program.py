"""`thinnet lint` as a subcommand of `thinnet`: its arguments."""

from typer.testing import CliRunner, Result

from thinnet.cli import app

BAD = "import torch.nn.functional as F\n\n\ndef f(x):\n    return F.dropout(x, 0.5)\n"


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(app, ["lint", *arguments], input=given)


def test_the_exit_code_is_1_with_findings_and_0_without() -> None:
    found = run("-", given=BAD)
    assert found.exit_code == 1 and "THN101" in found.stdout
    assert run("-", "--ignore", "THN101", given=BAD).exit_code == 0


def test_the_subcommand_has_its_own_options_and_help() -> None:
    assert "What it does" in run("--explain", "THN101").stdout
    assert "--unsafe-fixes" in run("--help").stdout
    assert run("--no-such-option").exit_code == 2
