"""README and docs: every Python block runs as it stands, alone; every command parses; every link leads somewhere."""

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import typer
from typer.testing import CliRunner

from thinnet.cli import app
from thinnet.lint.command import lint
from thinnet.report.help import Command

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class Block(NamedTuple):
    """A fenced block of a page, and the text block right behind it, which is what it prints."""

    language: str
    code: str
    printed: str


def blocks(language: str) -> dict[str, Block]:
    """The blocks of a language by page and line."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            found[f"{page.name}:{line}"] = Block(match[1], match[2], match[3] or "")
    return {name: block for name, block in found.items() if block.language == language}


def assert_printed(expected: str, got: str) -> None:
    """The words are the same; numbers may differ a little, as processors and versions of PyTorch round differently."""
    words, numbers = ([*map(str.split, NUMBER.split(text))] for text in (expected, got)), []
    assert next(words) == next(words), got
    numbers = [list(map(float, NUMBER.findall(text))) for text in (expected, got)]
    assert numbers[1] == pytest.approx(numbers[0], rel=0.2, abs=0.02), got


@pytest.mark.parametrize("name", blocks("python"))
def test_python_runs_alone_and_prints_what_the_page_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block, out = blocks("python")[name], io.StringIO()
    with torch.random.fork_rng(), contextlib.redirect_stdout(out):
        exec(compile(block.code, "net.py", "exec"), {"__name__": "__main__"})
    if block.printed:
        assert_printed(block.printed, out.getvalue())


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("recipe_*.md")), ids=lambda page: page.name)
def test_recipes_show_files_that_the_tests_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"^<!-- file: (examples/\w+\.py) -->$", text, re.MULTILINE)  # tests/test_examples.py runs them
    assert len(shown) == text.count("\n## ") and all((ROOT / name).exists() for name in shown)
    assert all(f"(../{name})" in text for name in shown)  # for a code host, which shows no file


def test_every_fence_is_of_a_language_that_is_checked_or_is_no_code() -> None:
    languages = {
        match[1] for page in PAGES for match in re.finditer(r"^ *```(\w+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert languages <= {"python", "sh", "text", "console", "toml", "ini", "yaml", "diff"}


def commands() -> list[str]:
    """Every `thinnet ...` of a shell block, of a sentence or table, of --help and of a docstring."""
    found = [line for block in blocks("sh").values() for line in block.code.splitlines() if line.startswith("thinnet ")]
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "src" / "thinnet").rglob("*.py")]
    for text in texts:
        found += re.findall(r"(?<!`)`(thinnet [^`\n]+)`(?!`)", text)
        found += re.findall(r"# (?:or: )?.*?(thinnet (?:sites|audit|study|lint|methods) [^\n`]*)$", text, re.MULTILINE)
    return sorted({line.partition(" #")[0].partition(" < ")[0].strip() for line in found})


def assert_parses(line: str) -> None:
    """The command exists, and takes these arguments."""
    name, *arguments = shlex.split(line)[1:]
    if name.startswith("-"):
        assert name in ("--version", "--help")
        return
    command = typer.main.get_command(app).commands[name]
    if not arguments:  # the name of a command, in a sentence
        return
    if name == "lint":
        linter = typer.Typer()
        linter.command(cls=Command)(lint)
        command = typer.main.get_command(linter)
    with contextlib.suppress(typer.Exit):  # --help
        command.make_context(name, arguments)


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line: str) -> None:
    assert_parses(line)


@pytest.mark.parametrize("line", ["thinnet sites --passes 3", "thinnet study --rate 0.5", "thinnet lint --fixes"])
def test_a_command_that_is_wrong_does_not_parse(line: str) -> None:
    with pytest.raises(Exception, match=r"Missing parameter|No such option"):
        assert_parses(line)


CHEAP = ("thinnet --version", "thinnet doctor", "thinnet methods", "thinnet lint --explain")


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith(CHEAP) and not line.endswith("NAME")])
def test_cheap_commands_run(line: str) -> None:
    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0 and result.stdout


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        there = page if not file else page.parent / file
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target
