"""Checks and fixes the source code of one file."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import libcst as cst
from libcst.metadata import CodePosition, CodeRange, MetadataWrapper, PositionProvider

from thinnet.lint.documents import Document, python_blocks, split_lines
from thinnet.lint.fixes import Point
from thinnet.lint.intent import is_in_test, is_intended
from thinnet.lint.notebooks import code_cells
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.stack import with_large_stack
from thinnet.lint.tree import Tree
from thinnet.report.findings import Edit, Finding

NOQA = re.compile(r"#\s*noqa\b(?P<codes>\s*:\s*[A-Za-z]+[0-9]+(?:[,\s]+[A-Za-z]+[0-9]+)*)?", re.IGNORECASE)
MARKUP = (".md", ".rst")
NOTEBOOK = ".ipynb"
PYTHON_2 = re.compile(
    r"""^[ \t]*(?:print[ \t]+(?![=(,.\[])\S|print[ \t]*\([^()\n]*\)[ \t]*%|exec[ \t]+["'\w]"""
    r"""|except[ \t]+[\w. ]+,[ \t]*\w+[ \t]*:|raise[ \t]+[\w.]+,)|\bur["']|\b0[0-7]+\b(?![.jJeE])|`[\w.]+`|<>""",
    re.MULTILINE,
)
ASSUMED_IMPORTS = {"torch": "torch", "nn": "torch.nn", "F": "torch.nn.functional"}  # pages often leave these out
IS_PYTHON_2 = "it is Python 2"
MAX_FIX_PASSES = 20
MAX_LINE_LENGTH = 10_000


class UnreadableSource(Exception):
    """The file cannot be checked. The text gives the reason in one line."""


def applicable_rules(rules: Sequence[LintRule], data: bytes) -> list[LintRule]:
    """Returns the rules that can find something in a file, by a search for their words."""
    found: dict[str, bool] = {}
    for rule in rules:
        for word in rule.words:
            if word not in found:
                found[word] = any(part.encode() in data for part in word.split("|"))
    return [rule for rule in rules if all(found[word] for word in rule.words)]


def check(text: str, rules: Sequence[LintRule], path: str = "-", preview: bool = True) -> list[Finding]:
    """Returns the findings in a text.

    Args:
        text: the content of the file.
        rules: the rules to apply.
        path: the file. `.md` and `.rst` are pages with blocks of Python, `.ipynb` is a notebook; every other file is Python.
        preview: also report what is less certain.

    Raises:
        UnreadableSource: the text is not Python, or not a notebook.
    """
    if path.endswith(NOTEBOOK):
        page = code_cells(text)
        if page is None:
            raise UnreadableSource("it is not a notebook")
    elif path.endswith(MARKUP):
        page = python_blocks(text)
    else:
        return _check(Document(text), rules, path, preview)
    try:
        return _check(page, rules, path, preview)
    except UnreadableSource:
        return [finding for block in page.split() for finding in _check_block(block, rules, path, preview)]


def _check_block(block: Document, rules: Sequence[LintRule], path: str, preview: bool) -> list[Finding]:
    try:
        return _check(block, rules, path, preview)
    except UnreadableSource:  # pages may show code with parts left out, and a cell may have never run
        return []


def _check(document: Document, rules: Sequence[LintRule], path: str, preview: bool) -> list[Finding]:
    if (longest := max(map(len, document.code.split("\n")))) > MAX_LINE_LENGTH:
        raise UnreadableSource(f"a line has {longest} characters")  # generated code can take the parser minutes
    try:
        return with_large_stack(lambda: _findings(document, rules, path, preview))
    except RecursionError:
        raise UnreadableSource("it is nested too deeply") from None


def _findings(document: Document, rules: Sequence[LintRule], path: str, preview: bool) -> list[Finding]:
    try:
        tree = Tree(cst.parse_module(document.code), ASSUMED_IMPORTS if path.endswith(MARKUP) else {}, document.code)
    except cst.ParserSyntaxError as error:
        if PYTHON_2.search(document.code):
            raise UnreadableSource(IS_PYTHON_2) from None
        raise UnreadableSource(f"line {error.raw_line} is not valid Python") from None
    by_kind: dict[type[cst.CSTNode], list[LintRule]] = defaultdict(list)
    for rule in rules:
        for kind in rule.kinds:
            by_kind[kind].append(rule)
    reports = [
        (rule, report)
        for kind, interested in by_kind.items()
        for node in tree.kinds.get(kind, ())
        for rule in interested
        for report in rule.check(node, tree)
        if preview or not report.preview
    ]
    return _located(document, tree, reports, path) if reports else []  # only files with findings compute positions


def _located(document: Document, tree: Tree, reports: list[tuple[LintRule, Report]], path: str) -> list[Finding]:
    ranges = MetadataWrapper(tree.module, unsafe_skip_copy=True).resolve(PositionProvider)
    lines = [*split_lines(document.code), ""]
    findings: set[Finding] = set()
    for rule, report in reports:
        where = ranges[report.node]
        first, last = where.start.line, where.end.line
        if any(is_silenced(lines[number - 1], rule.code) for number in (first, last)):
            continue
        if not rule.holds_in_tests and is_in_test(tree, report.node):
            continue
        if rule.may_be_intended and is_intended(tree, report.node, lines, first, last):
            continue
        edits = _edits(document, report, ranges)
        location = document.location(path, where)
        cause = None if report.cause is None else document.location(path, ranges[report.cause])
        cause = None if cause is None or (cause.line, cause.cell) == (location.line, location.cell) else cause
        safe = bool(edits) and report.fix is not None and report.fix.safe
        findings.add(Finding(rule.definition, "", location, report.message, edits=edits, safe=safe, cause=cause))
    return sorted(findings, key=_order)


def _order(finding: Finding) -> tuple[int, int, int, str]:
    at = finding.location
    return (at.cell or 0, at.line, at.column or 0, finding.rule.code) if at else (0, 0, 0, finding.rule.code)


def _edits(document: Document, report: Report, ranges: Mapping[cst.CSTNode, CodeRange]) -> tuple[Edit, ...]:
    edits = []
    for edit in report.fix.edits if report.fix else ():
        start, stop = (_position(point, ranges) for point in (edit.start, edit.stop))
        if "\n" in edit.text or not document.is_verbatim(start, stop):
            return ()  # the lines would lose their indentation
        edits.append(Edit(document.offset(start), document.offset(stop), edit.text))
    return tuple(edits)


def _position(point: Point, ranges: Mapping[cst.CSTNode, CodeRange]) -> CodePosition:
    return ranges[point.node].end if point.end else ranges[point.node].start


def is_silenced(line: str, code: str) -> bool:
    """Returns whether a line has `# noqa`, alone or with this code."""
    found = NOQA.search(line)
    return found is not None and (not found["codes"] or code in re.findall(r"[A-Z]+[0-9]+", found["codes"].upper()))


def fix(text: str, rules: Sequence[LintRule], path: str, unsafe: bool, preview: bool = True) -> tuple[str, int]:
    """Applies fixes until none is left. Of two fixes that overlap, the second waits for the next pass.

    Args:
        text: the content of the file.
        rules: the rules to apply.
        path: as in `check`.
        unsafe: also apply fixes that are not safe.
        preview: as in `check`.

    Returns:
        The new text, and the number of fixed findings.
    """
    fixed = 0
    for _ in range(MAX_FIX_PASSES):
        edits: list[Edit] = []
        for finding in check(text, rules, path, preview):
            if (finding.safe or unsafe) and finding.edits and not _overlap(edits, finding.edits):
                edits += finding.edits
                fixed += 1
        if not edits:
            break
        for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.stop :]
    return text, fixed


def _overlap(chosen: list[Edit], edits: tuple[Edit, ...]) -> bool:
    return any(one.start < other.stop and other.start < one.stop for one in chosen for other in edits)
