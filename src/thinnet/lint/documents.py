"""The blocks of Python in Markdown and reStructuredText, as one module whose lines are those of the page."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from libcst.metadata import CodePosition

FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*\{?\.?(?P<language>\w*)")
DIRECTIVE = re.compile(r"(?P<indent>[ \t]*)\.\. (?:code|code-block|sourcecode)::[ \t]*(?P<language>\w*)")
DOCTEST = re.compile(r"[ \t]*(?:>>>|\.\.\.)(?: |$)")
PYTHON = frozenset({"python", "python3", "py", "pycon"})
Block = list[tuple[int, str]]  # line numbers from 0, and the lines


@dataclass
class Page:
    """Python code, and where each of its lines stands in the file that it comes from.

    Args:
        code: the code, on the lines where the file has it.
        text: the whole file, where that is more than the code.
        cut: how many characters were taken from the start of a line, by its number from 0.
        spans: the first and the last line of each block.
    """

    code: str
    text: str | None = None
    cut: dict[int, int] = field(default_factory=dict)
    spans: list[tuple[int, int]] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._starts = [0]
        for line in lines_of(self.code if self.text is None else self.text):
            self._starts.append(self._starts[-1] + len(line))

    def place(self, at: CodePosition) -> tuple[int, int]:
        """Returns the line and the column in the file, both from 1."""
        return at.line, at.column + self.cut.get(at.line - 1, 0) + 1

    def offset(self, at: CodePosition) -> int:
        """Returns the offset in the file."""
        return self._starts[at.line - 1] + self.place(at)[1] - 1

    def is_whole(self, start: CodePosition, stop: CodePosition) -> bool:
        """Says whether the code between two positions is the same text in the file."""
        return start.line == stop.line or not any(self.cut.get(line) for line in range(start.line - 1, stop.line))

    def parts(self) -> Iterator["Page"]:
        """Yields the blocks one by one, each where it stands."""
        lines = lines_of(self.code)
        for first, last in self.spans:
            kept = [line if first <= number <= last else "\n" for number, line in enumerate(lines)]
            yield Page("".join(kept), self.text, self.cut)


def lines_of(text: str) -> list[str]:
    """Returns the lines with their ends; a form feed does not end a line."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)


def blocks(text: str) -> Page:
    """Returns the Python of a page, all blocks together, since later ones use the names of earlier ones."""
    lines = lines_of(text)
    code, cut, spans = ["\n"] * len(lines), {}, []
    for block in [*_fenced(lines), *_directives(lines)]:
        block = _session(block)
        if not block:
            continue
        margin = min((len(line) - len(line.lstrip()) for _, line in block if line.strip()), default=0)
        for number, line in block:
            code[number] = line[margin:] if line.strip() else "\n"
            cut[number] = margin + len(lines[number]) - len(line)
        spans.append((block[0][0], block[-1][0]))
    return Page("".join(code), text, cut, sorted(spans))


def _fenced(lines: list[str]) -> Iterator[Block]:
    fence, block, wanted = "", [], False
    for number, line in enumerate(lines):
        found = FENCE.match(line)
        if not fence and found:
            fence, block, wanted = found["fence"], [], found["language"].lower() in PYTHON
        elif fence and line.strip().startswith(fence):
            if wanted:
                yield block
            fence = ""
        elif fence:
            block.append((number, line))


def _directives(lines: list[str]) -> Iterator[Block]:
    for number, line in enumerate(lines):
        found = DIRECTIVE.match(line)
        if found and found["language"].lower() in PYTHON:
            block: Block = []
            for below, text in enumerate(lines[number + 1 :], number + 1):
                indent = len(text) - len(text.lstrip())
                if text.strip() and indent <= len(found["indent"]):
                    break
                is_option = not any(kept.strip() for _, kept in block) and text.lstrip().startswith(":")
                block.append((below, "\n" if is_option else text))
            yield block


def _session(block: Block) -> Block:
    """Returns a block without prompts and output, if it is an interactive session."""
    if not any(line.lstrip().startswith(">>> ") for _, line in block):
        return block
    return [(number, DOCTEST.sub("", line, count=1)) for number, line in block if DOCTEST.match(line)]
