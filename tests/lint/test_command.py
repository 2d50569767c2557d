"""`thinnet lint`: exit codes, settings, output formats, fixes, the cache and unreadable files."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from thinnet.lint import run as running
from thinnet.lint.files import MAX_BYTES
from thinnet.lint.rules import REGISTRY

HEAD = "import torch.nn.functional as F\nfrom torch import nn\n\n\n"
NET = "class Net(nn.Module):\n    def forward(self, x):\n        return {}\n"
WRONG = HEAD + NET.format("F.dropout(x, 0.5)")
RIGHT = HEAD + NET.format("F.dropout(x, 0.5, training=self.training)")
AT = "7:16"


def assert_output(result, code: int, *texts: str) -> None:
    """The command has this exit code, and its output has these texts."""
    assert result.exit_code == code, result.output
    assert [text for text in texts if text not in result.output] == [], result.output


def test_findings_have_location_code_fix_mark_and_a_summary(run: Callable) -> None:
    Path("net.py").write_text(WRONG)
    Path("fine.py").write_text(RIGHT)
    assert_output(run(), 1, f"net.py:{AT} THN101 [*] `F.dropout`", "1 finding in 1 of 2 files; 1 can be fixed with --fix.")


def test_clean_files_exit_with_0(run: Callable) -> None:
    Path("fine.py").write_text(RIGHT)
    assert_output(run("fine.py"), 0, "Nothing found in 1 file.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_file.py"], "no such file or folder: no_such_file.py"),
        (["--select", "E501"], "a rule must be given by its code or a prefix; got 'E501'"),
        (["--select", "THN103"], "THN103 is in preview. Add --preview."),
        (["--explain", "THN999"], "--explain must be the code, prefix or name of a rule; got 'THN999'"),
    ],
)
def test_bad_input_prints_one_line_and_exits_with_2(run: Callable, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert_output(result, 2, message)
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("colour = true", "must have only select, ignore"),
        ("select = 'THN1'", "select in [tool.thinnet.lint] has the wrong type: 'THN1'"),
        ("per-file-ignores = {a = 1}", "per-file-ignores in [tool.thinnet.lint] has the wrong type"),
        ("ignore = ['X']", "got 'X'"),
        ("= 3", "cannot be read"),
    ],
)
def test_bad_settings_print_one_line_and_exit_with_2(run: Callable, table: str, message: str) -> None:
    Path("pyproject.toml").write_text(f"[tool.thinnet.lint]\n{table}\n")
    result = run()
    assert_output(result, 2, message)


def test_ctrl_c_exits_with_130(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "check", interrupted)
    Path("net.py").write_text(WRONG)
    assert run().exit_code == 130


@pytest.mark.parametrize(
    ("settings", "arguments", "codes"),
    [
        ("", [], {"THN101", "THN301"}),
        ("", ["--select", "THN1"], {"THN101"}),
        ("", ["--ignore", "THN1"], {"THN301"}),
        ("", ["--select", "THN,THN101", "--ignore", "THN1"], {"THN101", "THN301"}),
        ("", ["--preview"], {"THN101", "THN103", "THN301"}),
        ("preview = true", [], {"THN101", "THN103", "THN301"}),
        ("select = ['THN3']", [], {"THN301"}),
        ("select = ['THN3']", ["--select", "THN1"], {"THN101"}),
        ("exclude = ['inner']", [], set()),
        ("exclude = ['inner/*.py']", [], set()),
        ("per-file-ignores = {'inner/*' = ['THN1']}", [], {"THN301"}),
        ("per-file-ignores = {'net.py' = ['THN']}", [], set()),
    ],
)
def test_settings_and_options_select_rules(run: Callable, settings: str, arguments: list[str], codes: set[str]) -> None:
    Path("pyproject.toml").write_text(f"[tool.thinnet.lint]\n{settings}\n")
    Path("inner").mkdir()
    body = "F.dropout(F.dropout(x, 0.5, training=True) + self.use(nn.Dropout(1 - drop)), 0.5)"
    Path("inner/net.py").write_text(HEAD + NET.format(body).replace("forward", "work"))
    found = json.loads(run(*arguments, "--format", "json").output)
    assert {row["code"] for row in found} == codes


def test_a_less_certain_finding_needs_preview(run: Callable) -> None:
    evaluate = "def evaluate(model, data):\n    with torch.no_grad():\n        return [model(x) for x in data]\n"
    Path("net.py").write_text("import torch\n" + evaluate)
    assert_output(run(), 0, "Nothing found")
    assert_output(run("--preview"), 1, "THN108")
    assert_output(run("--select", "THN108"), 0, "Nothing found")
    assert_output(run("--select", "THN108", "--preview"), 1, "THN108")
    certain = "import torch\nfrom torch import nn\nmodel = nn.Sequential(nn.Dropout(0.5))\nmodel(x).backward()\n"
    Path("net.py").write_text(certain + "with torch.no_grad():\n    print(model(x))\n")
    assert_output(run(), 1, "net.py:5:1 THN108")


def test_folders_of_other_tools_are_skipped(run: Callable) -> None:
    for folder in (".venv", ".git", "build", "node_modules", "src"):
        Path(folder).mkdir()
        (Path(folder) / "net.py").write_text(WRONG)
    assert_output(run(), 1, "1 finding in 1 of 1 file")
    assert_output(run("build/net.py", "build"), 1, "1 finding in 1 of 1 file")


def test_an_unreadable_file_prints_one_line(run: Callable) -> None:
    Path("broken.py").write_text("F.dropout(\n")
    Path("binary.py").write_bytes(b"F.dropout\0")
    Path("huge.py").write_bytes(b"# dropout\n" * (MAX_BYTES // 10 + 1))
    Path("letters.py").write_bytes(b"# coding: utf-8\n# dropout \xff\n")
    Path("deep.py").write_text(f"dropout = {'(' * 4000}1{')' * 4000}\n")
    Path("long.py").write_text(f"dropout = {'1 + ' * 9000}1\n")
    Path("net.py").write_text(WRONG)
    result = run()
    assert_output(result, 1, "binary.py: skipped: it is binary", "huge.py: skipped: it has 4 MB", "broken.py: skipped: line")
    assert_output(result, 1, "letters.py: skipped: its encoding", "long.py: skipped: a line", "1 finding in 1 of 7 files")
    assert len(result.output.splitlines()) == 7


def test_files_in_python_2_are_named_once(run: Callable) -> None:
    Path("a.py").write_text("dropout = 1\nprint dropout\n")
    assert_output(run(), 0, "a.py: skipped: it is Python 2")
    Path("b.py").write_text("dropout = 2\nprint dropout\n")
    result = run()
    assert_output(result, 0, "a.py and 1 other file: skipped: they are Python 2")
    assert result.output.count("Python 2") == 1


def test_fix_writes_files_and_keeps_line_ends_and_encoding(run: Callable) -> None:
    before = "# coding: latin-1\n# \xe9\n" + WRONG
    Path("net.py").write_bytes(before.replace("\n", "\r\n").encode("latin-1"))
    assert_output(run("--fix"), 0, "Nothing found in 1 file; 1 fixed.")
    after = before.replace("0.5)", "0.5, training=self.training)")
    assert Path("net.py").read_bytes() == after.replace("\n", "\r\n").encode("latin-1")


def test_unsafe_fixes_need_their_own_option(run: Callable) -> None:
    Path("net.py").write_text("def f(model):\n    model.eval\n")
    assert_output(run("--fix"), 1, "1 can be fixed with --unsafe-fixes")
    assert Path("net.py").read_text() == "def f(model):\n    model.eval\n"
    assert_output(run("--unsafe-fixes"), 0, "1 fixed")
    assert Path("net.py").read_text() == "def f(model):\n    model.eval()\n"


def test_overlapping_fixes_are_applied_in_turn(run: Callable) -> None:
    Path("net.py").write_text(HEAD + NET.format("F.dropout(F.dropout(x, keep_prob=q), keep_prob=F.dropout(x))"))
    assert_output(run("--fix"), 0, "5 fixed")
    mode = "training=self.training"
    inner, rate = f"F.dropout(x, p=1 - q, {mode})", f"F.dropout(x, {mode})"
    assert Path("net.py").read_text() == HEAD + NET.format(f"F.dropout({inner}, p=1 - {rate}, {mode})")


def test_a_silenced_finding_is_not_fixed(run: Callable) -> None:
    text = WRONG.replace("0.5)", "0.5)  # noqa: E501, THN101")
    Path("net.py").write_text(text)
    Path("pyproject.toml").write_text("[tool.thinnet.lint.per-file-ignores]\n'other.py' = ['THN101']\n")
    Path("other.py").write_text(WRONG)
    assert_output(run("--fix"), 0, "Nothing found")
    assert (Path("net.py").read_text(), Path("other.py").read_text()) == (text, WRONG)


def test_stdin_is_checked_and_fixed(run: Callable) -> None:
    assert_output(run("-", input=WRONG), 1, f"-:{AT} THN101 [*]")
    fixed = run("-", "--fix", input=WRONG)
    assert (fixed.exit_code, fixed.stdout) == (0, RIGHT)
    assert_output(run("-", input="def ("), 2, "stdin cannot be read: line 1")


def test_the_second_run_reads_the_cache(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("net.py").write_text(WRONG)
    first = run().output
    monkeypatch.setattr(running, "check", None)
    assert run().output == first
    Path("copy.py").write_text(WRONG)
    assert_output(run(), 1, "2 findings in 2 of 2 files")
    Path("net.py").write_text(WRONG + "\n")
    assert isinstance(run().exception, TypeError)
    assert isinstance(run("--preview", "copy.py").exception, TypeError)


def test_a_broken_cache_is_ignored(run: Callable) -> None:
    Path("net.py").write_text(WRONG)
    first = run().output
    (kept,) = Path(".thinnet_cache").glob("lint-*.json")
    kept.write_text("{")
    assert run().output == first
    assert Path(".thinnet_cache/.gitignore").read_text() == "*\n"


def test_no_cache_writes_nothing(run: Callable) -> None:
    Path("net.py").write_text(WRONG)
    run("--no-cache")
    assert not Path(".thinnet_cache").exists()


def test_the_number_of_processes_does_not_change_the_output(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "ONE_PROCESS_BYTES", 0)
    for number in range(6):
        Path(f"net{number}.py").write_text("\n" * number + WRONG)
    assert run("--no-cache", "--jobs", "2").output == run("--no-cache", "--jobs", "1").output


def test_json_has_all_values_of_a_finding(run: Callable) -> None:
    Path("net.py").write_text(WRONG)
    (row,) = json.loads(run("--format", "json").output)
    assert json.loads(run("--json").output) == [row]
    assert (row["path"], row["code"], row["name"]) == ("net.py", "THN101", "dropout-without-training")
    assert (row["line"], row["column"], row["end_line"], row["end_column"]) == (7, 16, 7, 33)
    assert (row["safe"], row["edits"][0]["text"]) == (True, ", training=self.training")


def test_github_has_one_command_for_each_finding(run: Callable) -> None:
    Path("net.py").write_text(WRONG)
    line = "::error file=net.py,line=7,endLine=7,col=16,title=THN101 dropout-without-training::`F.dropout` without"
    assert run("--format", "github").output.startswith(line)


def test_sarif_follows_its_schema(run: Callable) -> None:
    Path("net.py").write_text(WRONG)
    Path("broken.py").write_text("F.dropout(\n")
    log = json.loads(run("--format", "sarif").stdout)
    (part,) = log["runs"]
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    assert [rule["id"] for rule in part["tool"]["driver"]["rules"]] == ["THN101"]
    (result,) = part["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("THN101", 0, "warning")
    assert place["artifactLocation"] == {"uri": "net.py"}
    assert place["region"] == {"startLine": 7, "endLine": 7, "startColumn": 16, "endColumn": 33}
    (note,) = part["invocations"][0]["toolExecutionNotifications"]
    assert note["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "broken.py"}


def test_junit_has_one_case_for_each_finding_and_skipped_file(run: Callable) -> None:
    Path("net.py").write_text(WRONG)
    Path("broken.py").write_text("F.dropout(\n")
    suite = ElementTree.fromstring(run("--format", "junit").stdout)
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "2",
        "failures": "1",
        "skipped": "1",
    }
    assert [case.get("classname") for case in suite] == ["net.py", "broken.py"]


def test_statistics_count_findings_by_rule(run: Callable) -> None:
    Path("net.py").write_text(WRONG)
    assert_output(run("--statistics"), 1, "    1 THN101 dropout-without-training")


def test_explain_prints_a_rule_or_a_list(run: Callable) -> None:
    assert_output(run("--explain", "THN101"), 0, "# dropout-without-training (THN101)", "## Why is this bad?")
    assert_output(run("--explain", "rate-of-one"), 0, "(THN303)")
    listed = run("--explain", "thn").output
    assert [line.split()[0] for line in listed.splitlines()] == [rule.code for rule in REGISTRY]


def test_help_has_an_example_and_the_exit_codes(run: Callable) -> None:
    shown = " ".join(run("--help", env={"COLUMNS": "200"}).output.split())
    assert "Example: thinnet lint src --fix" in shown
    assert "Exit codes: 0 clean, 1 findings, 2 bad input, 130 stopped by Ctrl-C." in shown


def test_the_linter_imports_only_the_report_package() -> None:
    package = Path(running.__file__).parent
    imports = re.compile(r"^\s*(?:from|import) (torch|numpy|thinnet(?!\.lint|\.report)\S*)", re.MULTILINE)
    assert {str(path): found for path in package.rglob("*.py") if (found := imports.findall(path.read_text()))} == {}


def test_it_runs_without_torch() -> None:
    code = "import sys, types; sys.modules['torch'] = None; package = types.ModuleType('thinnet'); "
    code += f"package.__path__ = [{str(Path(running.__file__).parents[1])!r}]; sys.modules['thinnet'] = package; "
    code += "import thinnet.lint.command; print('fine')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")
