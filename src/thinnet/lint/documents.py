"""Python code in source files, Markdown, reStructuredText and notebooks, with its positions in the file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from libcst.metadata import CodePosition, CodeRange

from thinnet.report.findings import Location

FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*\{?\.?(?P<language>\w*)")
DIRECTIVE = re.compile(r"(?P<indent>[ \t]*)\.\. (?:code|code-block|sourcecode)::[ \t]*(?P<language>\w*)")
DOCTEST = re.compile(r"[ \t]*(?:>>>|\.\.\.)(?: |$)")
PYTHON = frozenset({"python", "python3", "py", "pycon"})
Block = list[tuple[int, str]]  # line numbers from 0, and the lines


@dataclass
class Document:
    """The Python code of a file.

    Args:
        code: the code, each line at the line number that it has in the file.
        text: the whole file; None if that is the code.
        removed: how many characters were removed from the start of a line, by line number from 0.
        spans: the first and the last line of each block of code.
        cells: the number of the cell of each block, in a notebook.
    """

    code: str
    text: str | None = None
    removed: dict[int, int] = field(default_factory=dict)
    spans: list[tuple[int, int]] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._starts = [0]
        for line in split_lines(self.code if self.text is None else self.text):
            self._starts.append(self._starts[-1] + len(line))

    def location(self, path: str, where: CodeRange) -> Location:
        """Returns a range of the code as a range of the file, or of a cell in a notebook."""
        start, end = self.position(where.start), self.position(where.end)
        if not self.cells:
            return Location(path, *start, *end)
        index = max(index for index, (first, _) in enumerate(self.spans) if first < where.start.line)
        first = self.spans[index][0]
        return Location(path, start[0] - first, start[1], end[0] - first, end[1], self.cells[index])

    def position(self, at: CodePosition) -> tuple[int, int]:
        """Returns the line and the column in the file, both from 1."""
        return at.line, at.column + self.removed.get(at.line - 1, 0) + 1

    def offset(self, at: CodePosition) -> int:
        """Returns the offset in the file."""
        return self._starts[at.line - 1] + self.position(at)[1] - 1

    def is_verbatim(self, start: CodePosition, stop: CodePosition) -> bool:
        """Returns whether the file has the code between two positions unchanged."""
        changed = any(self.removed.get(line) for line in range(start.line - 1, stop.line))
        return not self.cells and (start.line == stop.line or not changed)

    def split(self) -> Iterator["Document"]:
        """Yields one document for each block of code."""
        lines = split_lines(self.code)
        for first, last in self.spans:
            kept = [line if first <= number <= last else "\n" for number, line in enumerate(lines)]
            yield Document("".join(kept), self.text, self.removed, self.spans, self.cells)


def split_lines(text: str) -> list[str]:
    """Returns the lines with their ends. A form feed does not end a line."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)


def python_blocks(text: str) -> Document:
    """Returns the Python blocks of a page as one module, because later blocks use the names of earlier ones."""
    lines = split_lines(text)
    code, removed, spans = ["\n"] * len(lines), {}, []
    for block in [*_fenced(lines), *_directives(lines)]:
        block = _without_prompts(block)
        if not block:
            continue
        margin = min((len(line) - len(line.lstrip()) for _, line in block if line.strip()), default=0)
        for number, line in block:
            code[number] = line[margin:] if line.strip() else "\n"
            removed[number] = margin + len(lines[number]) - len(line)
        spans.append((block[0][0], block[-1][0]))
    return Document("".join(code), text, removed, sorted(spans))


def _fenced(lines: list[str]) -> Iterator[Block]:
    fence, block, is_python = "", [], False
    for number, line in enumerate(lines):
        found = FENCE.match(line)
        if not fence and found:
            fence, block, is_python = found["fence"], [], found["language"].lower() in PYTHON
        elif fence and line.strip().startswith(fence):
            if is_python:
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


def _without_prompts(block: Block) -> Block:
    """Removes the prompts and the output of an interactive session."""
    if not any(line.lstrip().startswith(">>> ") for _, line in block):
        return block
    return [(number, DOCTEST.sub("", line, count=1)) for number, line in block if DOCTEST.match(line)]
