"""Python in Markdown and reStructuredText is checked, located and fixed in the page."""

import textwrap

import pytest

from thinnet.lint.engine import check, fix
from thinnet.lint.rules import REGISTRY

NET = "class Net(nn.Module):\n    def forward(self, x):\n        return F.dropout(x, 0.5)\n"
FIXED = NET.replace("0.5)", "0.5, training=self.training)")


def markdown(code: str, language: str = "python") -> str:
    return f"# A page\n\nText.\n\n```{language}\n{code}```\n\nMore text, with F.dropout(x).\n"


def rest(code: str) -> str:
    return f"A page\n======\n\n.. code-block:: python\n   :linenos:\n\n{textwrap.indent(code, '    ')}\nText.\n"


def session(code: str) -> str:
    first, *others = code.splitlines()
    lines = [f">>> {first}", *(f"... {line}" for line in others), "...", ">>> Net()", "Net()"]
    return markdown("\n".join(lines) + "\n", "pycon")


@pytest.mark.parametrize(
    ("page", "suffix", "place"),
    [(markdown, ".md", (8, 16)), (rest, ".rst", (9, 20)), (session, ".md", (8, 20))],
    ids=["markdown", "rest", "session"],
)
def test_a_finding_has_its_position_in_the_page_and_is_fixed_there(page, suffix: str, place: tuple[int, int]) -> None:
    text = page(NET)
    (found,) = check(text, REGISTRY, suffix)
    at = found.location
    assert at is not None and (found.rule.code, at.line, at.column) == ("THN101", *place)
    assert text.splitlines()[place[0] - 1][place[1] - 1 :].startswith("F.dropout")
    assert fix(text, REGISTRY, suffix, unsafe=False) == (page(FIXED), 1)


@pytest.mark.parametrize("language", ["text", "", "json", "c"])
def test_blocks_of_other_languages_are_skipped(language: str) -> None:
    assert check(markdown(NET, language), REGISTRY, ".md") == []


def test_later_blocks_use_the_names_of_earlier_ones() -> None:
    text = markdown("from torch.nn.functional import dropout as drop\n") + markdown("drop(x)\n")
    assert [found.rule.code for found in check(text, REGISTRY, ".md")] == ["THN101"]


def test_an_invalid_block_does_not_hide_another() -> None:
    text = markdown("x = ...\n    F.dropout(\n") + markdown(NET)
    (found,) = check(text, REGISTRY, ".md")
    assert found.location is not None
    assert text.splitlines()[found.location.line - 1].strip() == "return F.dropout(x, 0.5)"


def test_an_alias_of_a_module_is_resolved_in_a_page() -> None:
    code = textwrap.dedent("""
    from torch import nn
    F = nn.functional

    class RNNClassifier(nn.Module):
        def __init__(self, dropout=0):
            super().__init__()
            self.dropout = dropout

        def forward(self, x):
            return F.softmax(self.output(F.dropout(x, p=self.dropout)), dim=-1)
    """)
    assert [found.rule.code for found in check(rest(code), REGISTRY, ".rst")] == ["THN101"]
