"""Findings as text, JSON, GitHub annotations and SARIF."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from thinnet.lint.finding import Finding
from thinnet.lint.pages import summary_of
from thinnet.lint.rules import REGISTRY
from thinnet.lint.run import Outcome

NAMES = {rule.code: rule.name() for rule in REGISTRY}


def text(outcomes: Sequence[Outcome]) -> str:
    """Returns one line a finding, `[*]` for those that can be fixed, and a line that sums them up."""
    return "\n".join([*(_line(path, found) for path, found in _all(outcomes)), summary(outcomes)]) + "\n"


def _line(path: str, found: Finding) -> str:
    mark = " [*]" if found.edits else ""
    return f"{path}:{found.line}:{found.column} {found.code}{mark} {found.message}"


def _all(outcomes: Sequence[Outcome]) -> list[tuple[str, Finding]]:
    return [(str(outcome.path), found) for outcome in outcomes for found in outcome.findings]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Returns the line under the findings."""
    findings = [found for _, found in _all(outcomes)]
    mended = sum(outcome.mended for outcome in outcomes)
    fixed = [f"{mended} fixed"] if mended else []
    if not findings:
        return "; ".join([f"Nothing found in {_counted(len(outcomes), 'file')}", *fixed]) + "."
    files = sum(bool(outcome.findings) for outcome in outcomes)
    found = f"{_counted(len(findings), 'finding')} in {files} of {_counted(len(outcomes), 'file')}"
    safe = sum(finding.safe for finding in findings)
    other = sum(bool(finding.edits) for finding in findings) - safe
    ways = [f"{safe} can be fixed with --fix"] if safe else []
    ways += [f"{other} more with --unsafe-fixes" if safe else f"{other} can be fixed with --unsafe-fixes"] if other else []
    return "; ".join([found, *fixed, *ways]) + "."


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def statistics(outcomes: Sequence[Outcome]) -> str:
    """Returns how often each rule found something, the most frequent first."""
    counts = Counter(found.code for _, found in _all(outcomes))
    lines = [
        f"{number:5} {code} {NAMES[code]}" for code, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    return "\n".join([*lines, summary(outcomes)]) + "\n"


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Returns a list of findings."""
    rows = [{"path": path, "name": NAMES[found.code]} | found.to_json() for path, found in _all(outcomes)]
    return json.dumps(rows, indent=2) + "\n"


def github(outcomes: Sequence[Outcome]) -> str:
    """Returns workflow commands that GitHub shows beside the lines."""
    lines = []
    for path, found in _all(outcomes):
        place = f"file={_escaped(path)},line={found.line},endLine={found.end_line},col={found.column}"
        title = f"{found.code} {NAMES[found.code]}"
        message = found.message.replace("%", "%25").replace("\n", "%0A")
        lines.append(f"::error {place},title={title}::{message}\n")
    return "".join(lines)


def _escaped(value: str) -> str:
    for sign, code in (("%", "%25"), (":", "%3A"), (",", "%2C")):
        value = value.replace(sign, code)
    return value


def sarif(outcomes: Sequence[Outcome]) -> str:
    """Returns a SARIF 2.1.0 log, with a notification for each file that was passed over."""
    used = sorted({found.code for _, found in _all(outcomes)})
    rules = [{"id": code, "name": NAMES[code], "shortDescription": {"text": summary_of(code)}} for code in used]
    driver = {"name": "thinnet lint", "rules": rules}
    troubles = [
        {"level": "warning", "message": {"text": outcome.trouble}, "locations": [_place(str(outcome.path))]}
        for outcome in outcomes
        if outcome.trouble
    ]
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": troubles}],
        "results": [_result(path, found, used) for path, found in _all(outcomes)],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _result(path: str, found: Finding, used: list[str]) -> dict[str, Any]:
    lines = {"startLine": found.line, "endLine": found.end_line}
    region = lines | {"startColumn": found.column, "endColumn": found.end_column}
    return {
        "ruleId": found.code,
        "ruleIndex": used.index(found.code),
        "level": "warning",
        "message": {"text": found.message},
        "locations": [_place(path, region)],
    }


def _place(path: str, region: dict[str, int] | None = None) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": path.replace("\\", "/")}}
    return {"physicalLocation": place | ({"region": region} if region else {})}


FORMATS: dict[str, Callable[[Sequence[Outcome]], str]] = {"text": text, "json": as_json, "github": github, "sarif": sarif}
