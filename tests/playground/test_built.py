"""The built page is small, whole, and not behind its source; the command opens it or writes it."""

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docs import playground
from thinnet.cli import app
from thinnet.playground import command

MOST = 300_000


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["playground", *map(str, arguments)])
    return done.exit_code, done.output


def test_the_page_is_not_behind_its_source() -> None:
    assert not playground.is_behind()
    assert playground.update(check=True) == []


def test_a_changed_source_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "playground"
    shutil.copytree(playground.SOURCE, copied, ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.setattr(playground, "SOURCE", copied)
    assert not playground.is_behind()
    with (copied / "src" / "main.ts").open("a") as file:
        file.write("// changed\n")
    assert playground.is_behind()


def test_the_page_is_one_small_file_that_loads_nothing() -> None:
    text = command.PAGE.read_text(encoding="utf-8")
    assert len(text.encode()) < MOST
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', text) == []
    assert "import(" not in text


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    target = tmp_path / "new" / "dropout.html"
    code, output = run("--out", target)
    assert code == 0 and str(target) in output
    assert target.read_bytes() == command.PAGE.read_bytes()


def test_the_command_opens_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(command.webbrowser, "open", lambda url: bool(opened.append(url) or True))
    assert run() == (0, "") and opened == [command.PAGE.as_uri()]


def test_the_command_says_what_to_do_without_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.webbrowser, "open", lambda url: False)
    code, output = run()
    assert code == 2 and "--out FILE" in output


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    code, output = run("--out", tmp_path)
    assert code == 2 and output.startswith("playground: --out must be a file that can be written")
