"""The cells of a notebook are checked together, and a finding has its cell and its line in the cell."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from thinnet.lint.engine import UnreadableSource, check, fix
from thinnet.lint.rules import REGISTRY

IMPORTS = "%matplotlib inline\n!pip install torch\nimport torch.nn as nn\nimport torch.nn.functional as F"
NET = "class Net(nn.Module):\n    def forward(self, x):\n        return F.dropout(x, 0.5)\n"


def notebook(*sources: str, language: str = "python") -> str:
    cells = [{"cell_type": "code", "metadata": {}, "source": source.splitlines(keepends=True)} for source in sources]
    text = {"cell_type": "markdown", "metadata": {}, "source": ["F.dropout(x)"]}
    head = {"metadata": {"language_info": {"name": language}}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps({"cells": [text, *cells]} | head)


def places(text: str) -> list[tuple[int | None, int, int | None, str]]:
    findings = check(text, REGISTRY, "n.ipynb")
    return [(at.cell, at.line, at.column, found.rule.code) for found in findings if (at := found.location)]


def test_a_finding_has_its_cell_and_its_line_in_the_cell() -> None:
    assert places(notebook(IMPORTS, NET)) == [(2, 3, 16, "THN101")]


def test_a_broken_cell_does_not_hide_another() -> None:
    assert places(notebook(IMPORTS + "\n" + NET, "print 1", "def (")) == [(1, 7, 16, "THN101")]


@pytest.mark.parametrize("magic", ["%time x = 1", "!ls", "x = !ls", "x = %env HOME", "nn.Module?", "?nn", "%cd a \\\n b"])
def test_magics_and_shell_commands_are_no_python(magic: str) -> None:
    assert [place[0] for place in places(notebook(IMPORTS, f"if x:\n    {magic}\n{NET}"))] == [2]


def test_a_cell_in_another_language_is_left_out() -> None:
    assert places(notebook(IMPORTS, "%%bash\nif [ a ]; then", "%%time\n" + NET)) == [(3, 4, 16, "THN101")]
    assert places(notebook(IMPORTS, NET, language="R")) == []


def test_a_notebook_is_not_fixed() -> None:
    text = notebook(IMPORTS, NET)
    assert fix(text, REGISTRY, "n.ipynb", unsafe=True) == (text, 0)


@pytest.mark.parametrize("text", ["F.dropout(x)", "[1]", '{"cells": 3}'])
def test_another_file_is_no_notebook(text: str) -> None:
    with pytest.raises(UnreadableSource, match="it is not a notebook"):
        check(text, REGISTRY, "n.ipynb")


def test_the_command_finds_notebooks(run: Callable) -> None:
    Path("n.ipynb").write_text(notebook(IMPORTS, NET))
    for arguments in (["n.ipynb"], ["."], []):  # the last run reads the cache
        result = run(*arguments)
        assert result.exit_code == 1
        assert "n.ipynb:cell 2:3:16 THN101 `F.dropout`" in result.output
    assert "file=n.ipynb,title" in run("--format", "github").output
    (row,) = json.loads(run("--format", "json").output)
    assert (row["path"], row["cell"], row["line"]) == ("n.ipynb", 2, 3)
