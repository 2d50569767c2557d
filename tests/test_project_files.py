"""The files that other programs read: workflows, the action, the hook, the recipe, templates and the problem matcher."""

import contextlib
import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from processes import environment

ROOT = Path(__file__).parent.parent
YAML = sorted([*ROOT.glob(".github/**/*.yml"), *ROOT.glob("*.yml"), *ROOT.glob("recipe/*.yaml"), ROOT / "CITATION.cff"])
YAML.remove(ROOT / "mkdocs.yml")  # it has tags of its own
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
SLIP = "import torch.nn.functional as F\n\n\ndef net(x):\n    return F.dropout(x, 0.5)\n"


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_is_a_mapping(path: Path) -> None:
    assert isinstance(read(path), dict)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_few_permissions_and_pinned_steps(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "runs-on" in job and set(job.get("needs", ())) <= workflow["jobs"].keys()
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert "@" in step.get("uses", "@")


def test_files_that_workflows_name_are_there() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (*WORKFLOWS, ROOT / "pyproject.toml"))
    for name in re.findall(r"\btests/\w+\.py", text):
        assert (ROOT / name).exists(), name


def test_tracked_files_are_text_or_pictures() -> None:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for path in (ROOT / name for name in names if name and not name.endswith(".png")):
        assert not path.exists() or b"\0" not in path.read_bytes(), path


def test_one_version_everywhere() -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert read(ROOT / "CITATION.cff")["version"] == version
    assert read(ROOT / "recipe" / "recipe.yaml")["context"]["version"] == version


def lint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "net.py").write_text(SLIP)
    command = [sys.executable, "-m", "thinnet", "lint", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment())


def test_the_problem_matcher_reads_the_output_of_the_linter(tmp_path: Path) -> None:
    (task,) = json.loads((ROOT / "docs" / "editors" / "vscode-tasks.json").read_text())["tasks"]
    pattern = task["problemMatcher"]["pattern"]
    matches = [re.match(pattern["regexp"], line) for line in lint(tmp_path).stdout.splitlines()]
    found = [match for match in matches if match]
    assert [(match[pattern["file"]], match[pattern["line"]], match[pattern["code"]]) for match in found] == [
        ("net.py", "5", "THN101")
    ]


def test_the_hook_runs_the_linter_on_the_files_it_is_given(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"] == "thinnet lint" and hook["language"] == "python"
    assert (lint(tmp_path, "net.py").returncode, lint(tmp_path, "--ignore", "THN101", "net.py").returncode) == (1, 0)


def needs(name: str, seen: set[str]) -> set[str]:
    """The distributions that one needs on some system or Python, except extras."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name not in seen:
        seen.add(name)
        with contextlib.suppress(PackageNotFoundError):
            for line in distribution(name).requires or ():
                if "extra ==" not in line and "python_version ==" not in line:
                    needs(re.match(r"[\w.-]+", line)[0], seen)
    return seen


def test_the_hook_installs_all_that_the_linter_needs_but_not_pytorch() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    option, *pins = hook["additional_dependencies"]
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["lint"]
    wanted: set[str] = set()
    for line in extra:
        needs(re.match(r"[\w.-]+", line)[0], wanted)
    constraints = {line.lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert option == "--no-deps" and "torch" not in wanted
    assert sorted(pins) == sorted(line for line in constraints if line.partition("==")[0] in wanted)


def test_the_action_lints_uploads_and_then_fails() -> None:
    steps = read(ROOT / "action.yml")["runs"]["steps"]
    upload = next(number for number, step in enumerate(steps) if "upload-sarif" in step.get("uses", ""))
    run = steps[upload - 1]["run"]
    assert "--format sarif" in run and "exit" in steps[upload + 1]["run"]
    assert "${{" not in "".join(step.get("run", "") for step in steps)  # no input becomes shell code
