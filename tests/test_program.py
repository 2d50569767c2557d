"""The `thinnet` program as a process: without optional libraries or kernels, interrupted, and with a closed pipe."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import SOURCES, answer_ctrl_c, environment
from typer.testing import CliRunner

import thinnet
from thinnet import ops
from thinnet.cli import app
from thinnet.report.extras import EXTRAS, libraries, module_of

PROJECT = Path(__file__).parent.parent
OPTIONAL = sorted({module_of(library) for extra in EXTRAS for library in libraries(extra)})
RUN = "from thinnet.__main__ import main; main()"


def run(
    *arguments: str, hidden: list[str] = (), code: str = RUN, sources: Path = SOURCES, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the program in a process in which some libraries cannot be imported."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({list(hidden)})); sys.argv = {['thinnet', *arguments]}; "
    return subprocess.run(
        [sys.executable, "-c", hide + code],
        capture_output=True,
        text=True,
        env=environment() | {"PYTHONPATH": str(sources)} | variables,
        timeout=120,
    )


def test_the_extras_are_those_of_the_project() -> None:
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        extra: {re.match(r"[\w-]+", line)[0] for line in lines if "python_version" not in line}
        for extra, lines in declared.items()
    }
    assert {extra: set(libraries(extra)) for extra in EXTRAS} == {extra: named[extra] for extra in EXTRAS}


def test_version_and_doctor_need_torch_alone() -> None:
    shown = run("--version", hidden=OPTIONAL)
    assert shown.returncode == 0 and "Traceback" not in shown.stderr  # PyTorch itself may warn that there is no NumPy
    assert shown.stdout.startswith(f"thinnet {thinnet.__version__} (cpu: {ops.backends()['cpu']}; ")
    shown = run("doctor", hidden=OPTIONAL)
    assert shown.returncode == 0
    assert "missing libcst, rich, typer: pip install 'thinnet[lint]'" in shown.stdout
    facts = json.loads(run("doctor", "--json", hidden=OPTIONAL).stdout)
    assert {name: extra["missing"] for name, extra in facts["extras"].items()} == {name: libraries(name) for name in EXTRAS}
    assert facts["kernels"]["cpu"] == {"path": ops.backends()["cpu"], "reason": None}
    assert facts.keys() >= {"thinnet", "torch", "python", "threads", "cores", "devices"}


def test_doctor_is_the_same_with_and_without_its_libraries() -> None:
    with_typer = json.loads(run("doctor", "--json").stdout)
    without = json.loads(run("doctor", "--json", hidden=["typer"]).stdout)
    assert all(extra["installed"] for extra in with_typer["extras"].values() if not set(extra["missing"]))
    assert without["extras"]["study"]["missing"] == ["typer"]
    assert {name: value for name, value in with_typer.items() if name != "extras"} == {
        name: value for name, value in without.items() if name != "extras"
    }


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        (["methods"], "typer", "study"),
        (["sites", "x.py:make"], "rich", "study"),
        (["study"], "optuna", "study"),
        (["lint"], "typer", "lint"),
        (["lint"], "libcst", "lint"),
        ([], "typer", "study"),
    ],
)
def test_a_missing_library_names_the_extra_that_brings_it(command: list[str], missing: str, extra: str) -> None:
    shown = run(*command, hidden=[missing])
    assert shown.returncode == 2 and shown.stdout == ""
    name, more = (
        " ".join(["thinnet", *command[:1]]),
        "" if command else " Without it, `thinnet --version`, `thinnet doctor` and `thinnet build` work.",
    )
    assert shown.stderr == f"{name}: {missing} must be installed; it is not. Run pip install 'thinnet[{extra}]'.{more}\n"


def test_a_missing_library_of_a_function_names_the_function() -> None:
    shown = run("study", hidden=["jinja2"])
    assert (shown.returncode, shown.stderr) == (2, "study: jinja2 must be installed; it is not. Run pip install jinja2.\n")


def test_a_package_without_kernels_says_so_once(tmp_path: Path) -> None:
    shutil.copytree(SOURCES / "thinnet", tmp_path / "thinnet", ignore=shutil.ignore_patterns("_C*", "__pycache__"))
    twice = "import torch, thinnet; drop = thinnet.nn.Dropout(0.5); drop(torch.ones(3)); drop(torch.ones(3))"
    nothing_compiled = {"sources": tmp_path, "XDG_CACHE_HOME": str(tmp_path)}
    shown = run(code=twice, **nothing_compiled)
    assert shown.returncode == 0
    assert shown.stderr.count("the C++ kernels are not compiled; run thinnet build") == 1
    assert "cpu: reference" in run("--version", **nothing_compiled).stdout
    assert "kernels" not in run(code=twice).stderr


@pytest.mark.parametrize("arguments", [["methods"], ["methods", "--json"], ["doctor"]])
def test_a_closed_pipe_is_silent(arguments: list[str]) -> None:
    command = f"{sys.executable} -m thinnet {' '.join(arguments)} | head -c 1"
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment(), timeout=120)
    assert shown.stderr == "" and len(shown.stdout) == 1


@pytest.mark.parametrize("where", ["at import", "in forward"])
def test_ctrl_c_ends_with_130_and_without_a_traceback(where: str, tmp_path: Path) -> None:
    wait = "print('ready', flush=True); time.sleep(60)"
    lines = ["import time", "from torch import nn", "class Net(nn.Module):", "    def forward(self, x):", f"        {wait}"]
    (tmp_path / "slow.py").write_text("\n".join([*lines, wait if where == "at import" else ""]))
    command = [sys.executable, "-m", "thinnet", "audit", str(tmp_path / "slow.py:Net"), "--input", "2x3"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment(), preexec_fn=answer_ctrl_c)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")


@pytest.mark.parametrize(
    "command", ["", "doctor", "build", "methods", "sites", "audit", "bench", "lint", "study", "playground"]
)
def test_help_has_an_example_and_exit_codes_and_flags_have_no_type(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    assert "Example: thinnet " in shown.stdout
    assert "exit code" in shown.stdout.lower()
    assert "<bool>" not in shown.stdout.lower() and "boolean" not in shown.stdout.lower()


def test_output_in_ascii_has_question_marks_and_json_is_whole() -> None:
    ascii_only = environment() | {"PYTHONIOENCODING": "ascii"}
    shown = {}
    for arguments in (["methods", "Dropout"], ["methods", "ConcreteDropout", "--json"]):
        command = [sys.executable, "-m", "thinnet", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=ascii_only, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        shown[arguments[-1]] = done.stdout
    assert "?" in shown["Dropout"]
    assert json.loads(shown["--json"]) == json.loads(CliRunner().invoke(app, ["methods", "ConcreteDropout", "--json"]).stdout)


def test_output_for_no_terminal_has_no_colours() -> None:
    for variable in ({}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}):
        shown = subprocess.run(
            [sys.executable, "-m", "thinnet", "methods", "Dropout"],
            capture_output=True,
            text=True,
            env=environment() | variable,
            timeout=120,
        )
        assert shown.returncode == 0
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]", shown.stdout)  # no colour; bold may stay where a terminal is forced
