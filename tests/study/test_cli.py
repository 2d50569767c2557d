"""The command line: help, version, JSON on stdout, and a missing study extra."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thinnet import ops
from thinnet.cli import app
from thinnet.study.design.plan import DEFAULT_RATES, Plan
from thinnet.study.options import plan_of


def test_json_has_its_schema_and_is_all_of_stdout(study: Callable, csv: Path, tmp_path: Path):
    outcome = study(csv, "--target", "label", "--json", "--out", tmp_path / "out")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(resources.files("thinnet.study.report").joinpath("result.schema.json").read_text())
    jsonschema.validate(json.loads(outcome.out), schema, jsonschema.Draft202012Validator)
    assert outcome.out == (tmp_path / "out" / "result.json").read_text()
    assert "3 configurations, 3 seeds" in outcome.err


def test_terminal_shows_table_verdict_and_report(study: Callable, csv: Path, tmp_path: Path):
    outcome = study(csv, "--target", "label", "--out", tmp_path / "out")
    verdict = json.loads((tmp_path / "out" / "result.json").read_text())["verdict"]
    shown = " ".join(outcome.out.split())
    assert verdict["headline"] in shown
    assert verdict["overfitting"] in shown
    assert "less p = 0" in shown
    assert str(tmp_path / "out" / "index.html") in outcome.out


def test_name_is_the_built_in_problem_and_a_dot_makes_it_a_path(
    study: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wine").mkdir()
    named = study("wine", "--out", tmp_path / "out")
    assert (named.code, "The path 'wine' is not read: ./wine names it." in named.err) == (0, True)
    for text in ("./wine", "wine/"):
        outcome = study(text)
        assert (outcome.code, f"got the empty folder {str(tmp_path / 'wine')!r}" in outcome.err) == (2, True)


def test_help_has_options_exit_codes_and_an_example():
    shown = " ".join(CliRunner().invoke(app, ["study", "--help"], env={"COLUMNS": "200"}).stdout.split())
    options = "--target --task --rates --seeds --budget --out --jobs --seed --epochs --hidden --groups --json"
    options += " --methods --places --schedules --against --full"
    assert all(option in shown for option in options.split())
    assert "Exit codes: 0 done, 2 bad input" in shown
    assert "Example: thinnet study patients.csv" in shown
    assert "--places all,input --against weight_decay" in shown


def test_default_rates_of_the_command_are_those_of_the_plan():
    shown = " ".join(CliRunner().invoke(app, ["study", "--help"], env={"COLUMNS": "300"}).stdout.split())
    assert f"Default: {DEFAULT_RATES[1]:g} to {DEFAULT_RATES[-1]:g}" in shown
    assert plan_of({}, {}, hidden="8").rates == Plan().rates == DEFAULT_RATES


def test_version_names_the_kernels_of_each_device():
    shown = CliRunner().invoke(app, ["--version"]).stdout
    for device, path in ops.backends().items():
        assert f"{device}: {path}" in shown


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_core_does_not_import_the_study():
    done = run_python("import sys, thinnet; print([m for m in sys.modules if m.startswith('thinnet.study')])")
    assert done.stdout == "[]\n"
