"""What an audit finds: a code, a severity, a place, evidence in numbers, and a remedy."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

SEVERITIES = ("error", "warning", "note")
SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True)
class Rule:
    """One thing that an audit looks at.

    Args:
        code: stable, `AUD1..` mode, `AUD2..` rate and masks, `AUD3..` placement, `AUD4..` sharing, `AUD5..` methods.
        name: a few words.
        severity: "error", "warning", or "note", which alone is no failure.
    """

    code: str
    name: str
    severity: str


@dataclass(frozen=True)
class Finding:
    """One finding.

    Args:
        rule: what was looked at.
        place: the path of a module; empty for the model.
        line: `file:line`, where it is known.
        evidence: what was measured.
        remedy: what to do.
        allowed: the reason for which it was expected; empty where it was not.
    """

    rule: Rule
    place: str
    line: str | None
    evidence: str
    remedy: str
    allowed: str = ""

    @property
    def fails(self) -> bool:
        """Whether it counts: it is more than a note, and was not expected."""
        return self.rule.severity != "note" and not self.allowed


class Findings(tuple[Finding, ...]):
    """The findings of an audit, the severest first."""

    def __new__(cls, findings: Iterable[Finding] = ()) -> "Findings":
        """Sorts them by severity, then by code."""
        return super().__new__(cls, sorted(findings, key=lambda f: (SEVERITIES.index(f.rule.severity), f.rule.code)))

    @property
    def failed(self) -> bool:
        """Whether one of them counts."""
        return any(finding.fails for finding in self)

    def json(self) -> str:
        """Returns them as a JSON list."""
        return json.dumps([asdict(finding) for finding in self], indent=1)

    def sarif(self) -> str:
        """Returns them as SARIF 2.1.0, which code-scanning services read."""
        rules = {finding.rule.code: finding.rule for finding in self}
        driver = {"name": "thinnet audit", "rules": [{"id": rule.code, "name": rule.name} for rule in rules.values()]}
        results = [_result(finding) for finding in self if not finding.allowed]
        return json.dumps({"$schema": SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]})

    def junit(self) -> str:
        """Returns them as a JUnit test suite: one case a finding, failed where it counts."""
        suite = ElementTree.Element("testsuite", name="thinnet audit", tests=str(len(self)))
        suite.set("failures", str(sum(finding.fails for finding in self)))
        for finding in self:
            case = ElementTree.SubElement(suite, "testcase", classname=finding.place or "model", name=finding.rule.code)
            if finding.fails:
                failure = ElementTree.SubElement(case, "failure", message=f"{finding.rule.name}: {finding.evidence}")
                failure.text = finding.remedy
        return ElementTree.tostring(suite, encoding="unicode")

    def __str__(self) -> str:
        if not self:
            return "nothing found"
        return "\n".join(_text(finding) for finding in self)


def _text(finding: Finding) -> str:
    rule, line = finding.rule, "" if finding.line is None else f" ({Path(finding.line).name})"
    head = f"{rule.code} {rule.severity}: {rule.name} at {finding.place or 'the model'}{line}"
    lines = [head, f"    {finding.evidence}", f"    {finding.remedy}"]
    return "\n".join(lines + ([f"    allowed: {finding.allowed}"] if finding.allowed else []))


def _result(finding: Finding) -> dict[str, object]:
    file, _, line = (finding.line or "").rpartition(":")
    text = f"{finding.rule.name} at {finding.place or 'the model'}: {finding.evidence} {finding.remedy}"
    found: dict[str, object] = {"ruleId": finding.rule.code, "level": finding.rule.severity, "message": {"text": text}}
    if file:
        region = {"artifactLocation": {"uri": file}, "region": {"startLine": int(line)}}
        found["locations"] = [{"physicalLocation": region}]
    return found
