"""Python in Markdown and reStructuredText: found, placed where it stands on the page, and mended there."""

import textwrap

import pytest

from thinnet.lint.engine import check, mend
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
def test_a_finding_stands_where_the_page_has_it_and_is_mended_there(page, suffix: str, place: tuple[int, int]) -> None:
    text = page(NET)
    (found,) = check(text, REGISTRY, suffix)
    assert (found.code, found.line, found.column) == ("THN101", *place)
    assert text.splitlines()[found.line - 1][found.column - 1 :].startswith("F.dropout")
    assert mend(text, REGISTRY, suffix, unsafe=False) == (page(FIXED), 1)


@pytest.mark.parametrize("language", ["text", "", "json", "c"])
def test_blocks_of_other_languages_are_left_alone(language: str) -> None:
    assert check(markdown(NET, language), REGISTRY, ".md") == []


def test_later_blocks_use_the_names_of_earlier_ones() -> None:
    text = markdown("from torch.nn.functional import dropout as toss\n") + markdown("toss(x)\n")
    assert [found.code for found in check(text, REGISTRY, ".md")] == ["THN101"]


def test_a_block_that_is_no_python_hides_no_other() -> None:
    text = markdown("x = ...\n    F.dropout(\n") + markdown(NET)
    (found,) = check(text, REGISTRY, ".md")
    assert text.splitlines()[found.line - 1].strip() == "return F.dropout(x, 0.5)"


def test_an_alias_of_a_module_is_followed_in_a_page_of_service_code() -> None:
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
    assert [found.code for found in check(rest(code), REGISTRY, ".rst")] == ["THN101"]
