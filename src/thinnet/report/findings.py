"""Findings of `thinnet lint` and `thinnet audit`, and their text, JSON, GitHub, SARIF and JUnit forms."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from thinnet.report.formatting import counted
from thinnet.report.table import Table, Tabular

SEVERITIES = ("error", "warning", "note")
STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True)
class Rule:
    """One kind of finding.

    Args:
        code: a stable identifier, such as `THN101` or `AUD101`.
        name: a few words.
        severity: "error", "warning" or "note". Notes do not fail a run.
        summary: one sentence on what the rule finds.
    """

    code: str
    name: str
    severity: str
    summary: str = ""


@dataclass(frozen=True)
class Location:
    """A range of a source file. Lines and columns count from 1; the end column is exclusive; None is unknown.

    In a notebook, `cell` counts the code cells from 1, and the lines count within that cell.
    """

    path: str
    line: int
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None
    cell: int | None = None

    def __str__(self) -> str:
        cell = "" if self.cell is None else f"cell {self.cell}:"
        return f"{self.path}:{cell}{self.line}" + ("" if self.column is None else f":{self.column}")

    @property
    def line_name(self) -> str:
        """The line, and the cell of a notebook, without the path."""
        return f"line {self.line}" if self.cell is None else f"cell {self.cell}, line {self.line}"

    @classmethod
    def parse(cls, text: str | None) -> "Location | None":
        """Returns the location that `file:line` names."""
        path, _, line = (text or "").rpartition(":")
        return cls(path, int(line)) if path else None


@dataclass(frozen=True)
class Edit:
    """Text that replaces a file's characters from `start` to `stop`."""

    start: int
    stop: int
    text: str


@dataclass(frozen=True)
class Finding:
    """One finding.

    Args:
        rule: the rule that found it.
        module: the path of a module in a model; empty for the model itself and for a finding in source code.
        location: the source code, where it is known.
        cause: the source code that makes it wrong, such as the constructor of a layer, where it is another line.
        message: what was found.
        remedy: what to do. Empty where the message says it.
        allowed: why the finding is accepted; empty if it is not.
        edits: the fix, as edits of the file.
        safe: the fix does not change what training computes.
    """

    rule: Rule
    module: str
    location: Location | None
    message: str
    remedy: str = ""
    allowed: str = ""
    edits: tuple[Edit, ...] = ()
    safe: bool = False
    cause: Location | None = None

    @property
    def fails(self) -> bool:
        """Whether the finding fails the run: it is no note and is not allowed."""
        return self.rule.severity != "note" and not self.allowed

    def __str__(self) -> str:
        rule, at = self.rule, self.location
        if not self.remedy and at is not None:
            cause = f" (cause: {self.cause.line_name})" if self.cause else ""
            return f"{at} {rule.code}{' [*]' if self.edits else ''} {self.message}{cause}"
        line = "" if at is None else f" ({Path(at.path).name}:{at.line})"
        lines = [f"{rule.code} {rule.severity}: {rule.name} at {self.module or 'the model'}{line}", self.message, self.remedy]
        return "\n    ".join([*lines, f"allowed: {self.allowed}"] if self.allowed else lines)

    def as_dict(self) -> dict[str, Any]:
        """Returns the finding as JSON values."""
        at = Location("", 0) if self.location is None else self.location
        place = {name: value or None for name, value in asdict(at).items()}
        cause = None if self.cause is None else asdict(self.cause)
        fix = {"edits": [asdict(edit) for edit in self.edits], "safe": self.safe, "cause": cause}
        texts = {"module": self.module, "message": self.message, "remedy": self.remedy, "allowed": self.allowed}
        return {"code": self.rule.code, "name": self.rule.name, "severity": self.rule.severity} | place | texts | fix


class Format(str, Enum):
    """An output format of findings."""

    text = "text"
    json = "json"
    github = "github"
    sarif = "sarif"
    junit = "junit"


class Findings(Tabular, tuple[Finding, ...]):
    """The findings of one run, in order. They print as text; notebooks show a table.

    Args:
        findings: the findings.
        tool: the command that found them.
        skipped: files that could not be read, with the reason.
    """

    tool: str
    skipped: Mapping[str, str]

    def __new__(
        cls, findings: Iterable[Finding] = (), tool: str = "thinnet audit", skipped: Mapping[str, str] | None = None
    ) -> "Findings":
        self = super().__new__(cls, findings)
        self.tool, self.skipped = tool, skipped or {}
        return self

    @property
    def failed(self) -> bool:
        """Whether one of the findings fails the run."""
        return any(finding.fails for finding in self)

    def by_severity(self) -> "Findings":
        """Returns the findings ordered by severity, then by code."""
        order = sorted(self, key=lambda finding: (SEVERITIES.index(finding.rule.severity), finding.rule.code))
        return Findings(order, self.tool, self.skipped)

    def summary(self) -> str:
        """Returns the number of findings that fail the run, and of the others."""
        failing = sum(finding.fails for finding in self)
        return f"{counted(failing, 'finding')}, {counted(len(self) - failing, 'note')}"

    def tables(self) -> list[Table]:
        """Returns one table with a row a finding."""
        head = ("code", "severity", "finding", "module", "line", "found", "what to do", "allowed")
        marks = {number: "alarm" if finding.fails else "quiet" for number, finding in enumerate(self)}
        notes = [f"{path} was skipped: {reason}" for path, reason in self.skipped.items()]
        return [Table(head, [_row(finding) for finding in self], "" if self else "nothing found", notes=notes, marks=marks)]

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing found"

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        texts = []
        for finding in self:
            text = Text(str(finding))
            text.stylize("dim" if finding.allowed else STYLES[finding.rule.severity], 0, len(str(finding).split("\n")[0]))
            texts.append(text)
        return Group(*texts)

    def render(self, output: Format) -> str:
        """Returns the findings in an output format."""
        return str(self) if output is Format.text else getattr(self, output.value)()

    def json(self) -> str:
        """Returns a JSON list with one object a finding."""
        return json.dumps([finding.as_dict() for finding in self], indent=1)

    def github(self) -> str:
        """Returns GitHub workflow commands, which annotate the lines of a pull request."""
        return "\n".join(_github(finding) for finding in self)

    def sarif(self) -> str:
        """Returns a SARIF 2.1.0 log, which code-scanning services read. Allowed findings are left out."""
        shown = [finding for finding in self if not finding.allowed]
        rules = sorted({finding.rule for finding in shown}, key=lambda rule: rule.code)
        index = {rule.code: number for number, rule in enumerate(rules)}
        skipped = [
            {"level": "warning", "message": {"text": reason}, "locations": [_place(Location(path, 0))]}
            for path, reason in self.skipped.items()
        ]
        run = {
            "tool": {"driver": {"name": self.tool, "rules": [_sarif_rule(rule) for rule in rules]}},
            "columnKind": "unicodeCodePoints",
            "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": skipped}],
            "results": [_sarif_result(finding, index[finding.rule.code]) for finding in shown],
        }
        return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1)

    def junit(self) -> str:
        """Returns a JUnit test suite with one case a finding. A case fails if its finding does; skipped files are skipped."""
        from xml.etree import ElementTree  # only this format needs it, and `thinnet lint` has to start fast

        suite = ElementTree.Element("testsuite", name=self.tool, tests=str(len(self) + len(self.skipped)))
        suite.set("failures", str(sum(finding.fails for finding in self)))
        suite.set("skipped", str(len(self.skipped)))
        for finding in self:
            at = finding.location
            where = {} if at is None else {"file": at.path, "line": str(at.line)}
            owner = finding.module or (at.path if at is not None and not finding.remedy else "model")
            case = ElementTree.SubElement(suite, "testcase", where, classname=owner, name=finding.rule.code)
            if finding.fails:
                failure = ElementTree.SubElement(case, "failure", message=f"{finding.rule.name}: {finding.message}")
                failure.text = finding.remedy
        for path, reason in self.skipped.items():
            case = ElementTree.SubElement(suite, "testcase", classname=path, name="read")
            ElementTree.SubElement(case, "skipped", message=reason)
        return ElementTree.tostring(suite, encoding="unicode")


def _row(finding: Finding) -> tuple[object, ...]:
    rule, at = finding.rule, finding.location
    line = None if at is None else f"{at.path}:{at.line}"
    return rule.code, rule.severity, rule.name, finding.module, line, finding.message, finding.remedy, finding.allowed


def _github(finding: Finding) -> str:
    at = finding.location
    values: dict[str, object] = {}
    if at is not None:
        values = {"file": at.path, "line": at.line, "endLine": at.end_line, "col": at.column}
        values = values if at.cell is None else {"file": at.path}  # the lines of a cell are no lines of the file
    values["title"] = f"{finding.rule.code} {finding.rule.name}"
    properties = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in values.items() if value is not None)
    cell = f"{at.line_name}: " if at is not None and at.cell is not None else ""
    text = _escaped(f"{cell}{finding.message} {finding.remedy}".strip())
    return f"::{'error' if finding.fails else 'notice'} {properties}::{text}"


def _escaped(value: str, more: str = "") -> str:
    return "".join(f"%{ord(sign):02X}" if sign in "%\r\n" + more else sign for sign in value)


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {"id": rule.code, "name": rule.name, "shortDescription": {"text": rule.summary or rule.name}}


def _sarif_result(finding: Finding, index: int) -> dict[str, Any]:
    text = finding.message
    if finding.remedy:
        text = f"{finding.rule.name} at {finding.module or 'the model'}: {finding.message} {finding.remedy}"
    result = {"ruleId": finding.rule.code, "ruleIndex": index, "level": finding.rule.severity, "message": {"text": text}}
    if finding.cause is not None:
        result["relatedLocations"] = [_place(finding.cause) | {"message": {"text": "the cause"}}]
    return result if finding.location is None else result | {"locations": [_place(finding.location)]}


def _place(at: Location) -> dict[str, Any]:
    region = {"startLine": at.line, "endLine": at.end_line, "startColumn": at.column, "endColumn": at.end_column}
    known = {name: value for name, value in region.items() if value}
    place = {"artifactLocation": {"uri": at.path.replace("\\", "/")}}
    logical = {"logicalLocations": [{"name": at.line_name}]} if at.cell is not None else {}
    return {"physicalLocation": place | ({"region": known} if known and not logical else {})} | logical
