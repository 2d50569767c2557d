"""From a source text to its findings, and to the text with them mended."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import libcst as cst
from libcst.metadata import CodePosition, CodeRange, MetadataWrapper, PositionProvider

from thinnet.lint.changes import Point
from thinnet.lint.documents import Page, blocks, lines_of
from thinnet.lint.finding import Edit, Finding
from thinnet.lint.room import with_room
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree

NOQA = re.compile(r"#\s*noqa\b(?P<codes>\s*:\s*[A-Za-z]+[0-9]+(?:[,\s]+[A-Za-z]+[0-9]+)*)?", re.IGNORECASE)
CONVENTIONS = {"torch": "torch", "nn": "torch.nn", "F": "torch.nn.functional"}  # what pages leave out
PASSES = 20
LONGEST = 10_000


class Unreadable(Exception):
    """The file cannot be read as Python; the text says why, in one line."""


def worth(rules: Sequence[Rule], data: bytes) -> list[Rule]:
    """Returns the rules that could find something in a file, by a text search."""
    found: dict[str, bool] = {}
    for rule in rules:
        for word in rule.words:
            if word not in found:
                found[word] = any(part.encode() in data for part in word.split("|"))
    return [rule for rule in rules if all(found[word] for word in rule.words)]


def check(text: str, rules: Sequence[Rule], suffix: str = ".py") -> list[Finding]:
    """Returns the findings in a text.

    Args:
        text: Python, or a Markdown or reStructuredText page with blocks of Python in it.
        rules: what to look for.
        suffix: `.py`, `.md` or `.rst`.

    Raises:
        Unreadable: the text is not Python.
    """
    if suffix == ".py":
        return _check(Page(text), rules, {})
    whole = blocks(text)
    try:
        return _check(whole, rules, CONVENTIONS)
    except Unreadable:
        return [finding for part in whole.parts() for finding in _check_part(part, rules)]


def _check_part(part: Page, rules: Sequence[Rule]) -> list[Finding]:
    try:
        return _check(part, rules, CONVENTIONS)
    except Unreadable:  # an excerpt with an ellipsis in the wrong place is a page's right
        return []


def _check(page: Page, rules: Sequence[Rule], assumed: dict[str, str]) -> list[Finding]:
    if (longest := max(map(len, page.code.split("\n")))) > LONGEST:
        raise Unreadable(f"a line has {longest} characters")  # generated; chains in it take the parser minutes
    try:
        return with_room(lambda: _findings(page, rules, assumed))
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None


def _findings(page: Page, rules: Sequence[Rule], assumed: dict[str, str]) -> list[Finding]:
    try:
        tree = Tree(cst.parse_module(page.code), assumed)
    except cst.ParserSyntaxError as error:
        raise Unreadable(f"line {error.raw_line} is not Python that can be parsed") from None
    wanted: dict[type[cst.CSTNode], list[Rule]] = defaultdict(list)
    for rule in rules:
        for kind in rule.kinds:
            wanted[kind].append(rule)
    reports = [
        (rule.code, report)
        for kind, interested in wanted.items()
        for node in tree.kinds.get(kind, ())
        for rule in interested
        for report in rule.check(node, tree)
    ]
    return _placed(page, tree, reports) if reports else []


def _placed(page: Page, tree: Tree, reports: list[tuple[str, Report]]) -> list[Finding]:
    """Gives reports their places; only a file with findings pays for them."""
    ranges = MetadataWrapper(tree.module, unsafe_skip_copy=True).resolve(PositionProvider)
    lines = [*lines_of(page.code), ""]
    findings = []
    for code, report in reports:
        where = ranges[report.at]
        if any(silenced(lines[number - 1], code) for number in (where.start.line, where.end.line)):
            continue
        edits = _edits(page, report, ranges)
        start, stop = page.place(where.start), page.place(where.end)
        safe = bool(edits) and report.fix is not None and report.fix.safe
        findings.append(Finding(*start, *stop, code, report.message, edits, safe))
    return sorted(set(findings), key=lambda found: (found.line, found.column, found.code))


def _edits(page: Page, report: Report, ranges: Mapping[cst.CSTNode, CodeRange]) -> tuple[Edit, ...]:
    edits = []
    for change in report.fix.changes if report.fix else ():
        start, stop = (_position(point, ranges) for point in (change.start, change.stop))
        if "\n" in change.text or not page.is_whole(start, stop):
            return ()  # the lines would lose their indentation
        edits.append(Edit(page.offset(start), page.offset(stop), change.text))
    return tuple(edits)


def _position(point: Point, ranges: Mapping[cst.CSTNode, CodeRange]) -> CodePosition:
    return ranges[point.node].end if point.end else ranges[point.node].start


def silenced(line: str, code: str) -> bool:
    """Says whether a line carries `# noqa`, alone or with this code."""
    found = NOQA.search(line)
    return found is not None and (not found["codes"] or code in re.findall(r"[A-Z]+[0-9]+", found["codes"].upper()))


def mend(text: str, rules: Sequence[Rule], suffix: str, unsafe: bool) -> tuple[str, int]:
    """Applies fixes until none is left; where two overlap, the second waits for the next pass.

    Args:
        text: the source.
        rules: what to look for.
        suffix: as in `check`.
        unsafe: whether fixes that need a look are applied too.

    Returns:
        The new text, and how many findings were mended.
    """
    mended = 0
    for _ in range(PASSES):
        chosen: list[Edit] = []
        for finding in check(text, rules, suffix):
            if (finding.safe or unsafe) and finding.edits and not _overlap(chosen, finding.edits):
                chosen += finding.edits
                mended += 1
        if not chosen:
            break
        for edit in sorted(chosen, key=lambda edit: edit.start, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.stop :]
    return text, mended


def _overlap(chosen: list[Edit], edits: tuple[Edit, ...]) -> bool:
    return any(one.start < other.stop and other.start < one.stop for one in chosen for other in edits)
