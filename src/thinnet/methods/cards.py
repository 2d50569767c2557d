"""The card of a method: the sections of its docstring, for the terminal and the documentation."""

import inspect
import re
from typing import NamedTuple

from thinnet.methods.facts import Method

SECTIONS = ("Noise shape", "Use when", "Avoid when", "Start with", "Cost", "Other implementations", "Source")
HEADING = re.compile(rf"({'|'.join((*SECTIONS, 'Args', 'Shapes', 'Returns', 'Raises'))}):(?: |$)")


class Card(NamedTuple):
    """What the docstring of a method says.

    Args:
        title: the name of the method in prose.
        summary: the first sentence.
        equation: the indented lines before the first section.
        sections: the text of each section that the docstring has, by its heading in `SECTIONS`.
    """

    title: str
    summary: str
    equation: str
    sections: dict[str, str]


def read(method: Method) -> Card:
    """Returns the card of a method.

    >>> from thinnet.methods.elementwise.dropout import METHODS
    >>> read(METHODS[0]).sections["Noise shape"]
    'one decision per element, or `noise_shape`'
    """
    paragraphs = inspect.cleandoc(method.documented.__doc__).split(">>> ")[0].split("\n\n")
    headings = [index for index, paragraph in enumerate(paragraphs) if HEADING.match(paragraph)]
    body, sections = paragraphs[1 : headings[0]], "\n\n".join(paragraphs[headings[0] :])
    equation = "\n".join(inspect.cleandoc(paragraph) for paragraph in body if paragraph.startswith("    "))
    found = _sections(sections)
    return Card(title(method), _joined(paragraphs[0]), equation, {name: found[name] for name in SECTIONS if name in found})


def used_by(method: Method) -> str:
    """Returns the projects that use a method, with their settings, in one line."""
    return "; ".join(f"{use.project}: `{use.setting}`" for use in method.facts.used_by)


def title(method: Method) -> str:
    """Returns the name of a method in prose: "Alpha dropout" for `AlphaDropout`, "DropPath" for `DropPath`."""
    if method.title or not method.name.endswith("Dropout"):
        return method.title or method.name
    return re.sub(r"(?<=[a-z])[A-Z]", lambda letter: f" {letter[0].lower()}", method.name)


def _sections(text: str) -> dict[str, str]:
    """Returns the text behind each heading, without its final full stop."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        heading = HEADING.match(line)
        if heading:
            lines = found[heading[1]] = [line[heading.end() :]]
        else:
            lines.append(line)
    return {name: _joined("\n".join(lines)).removesuffix(".") for name, lines in found.items()}


def _joined(text: str) -> str:
    return " ".join(text.split())
