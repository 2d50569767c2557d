"""What the measurements say about the claims: as tables, as a document, and as a picture."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thinnet.report.table import Table, Tabular
from thinnet.reproductions.claim import Claim, Finding, Outcome, compare, overall

MARKS = {"agree": "strong", "differ": "alarm", "cannot tell": "quiet"}


@dataclass(frozen=True)
class Reproduction:
    """A claim and its findings.

    Args:
        claim: of a paper.
        findings: one for each part.
        seeds: how many were measured.
    """

    claim: Claim
    findings: Sequence[Finding]
    seeds: int

    @property
    def outcome(self) -> Outcome:
        """Whether our measurement agrees with the claim."""
        return overall(self.findings)


@dataclass(frozen=True, repr=False)
class Reproductions(Tabular):
    """The claims that were measured, and the outcomes.

    Args:
        found: one for each claim.
        data: the pictures: `digits` or a path.
    """

    found: Sequence[Reproduction]
    data: str

    def tables(self) -> list[Table]:
        """Returns a table of all parts; for a single claim also its statement and our task."""
        rows, marks = [], {}
        for each in self.found:
            for number, finding in enumerate(each.findings):
                marks[len(rows)] = MARKS[finding.outcome]
                low, high = shown(finding.interval.low), shown(finding.interval.high)
                measured = f"{shown(finding.interval.mean)} ({low} to {high})"
                name = each.claim.name if number == 0 else ""
                rows.append([name, finding.part.value, finding.part.predicted, measured, finding.outcome])
        head = ("claim", "measured", "predicted", "mean (95 % interval)", "outcome")
        notes = [self.summary()]
        if len(self.found) == 1:
            claim = self.found[0].claim
            notes = [f"claim: {claim.says} ({claim.source})", f"task: {claim.task}", f"seeds: {self.found[0].seeds}"]
        return [Table(head, rows, title="Reproductions", meaning="intervals over seeds", notes=notes, marks=marks)]

    def summary(self) -> str:
        """Returns how many claims agree."""
        counts = Counter(each.outcome for each in self.found)
        return f"{counts['agree']} agree, {counts['differ']} differ, {counts['cannot tell']} cannot tell"

    def document(self) -> dict[str, Any]:
        """Returns everything as plain data."""
        return {"data": self.data, "claims": [_document(each) for each in self.found]}


def reproductions(values: Mapping[str, Sequence[Mapping[str, float]]], claims: Sequence[Claim], data: str) -> Reproductions:
    """Compares all claims with the values of their seeds."""
    found = [Reproduction(claim, compare(claim.parts, values[claim.name]), len(values[claim.name])) for claim in claims]
    return Reproductions(found, data)


def shown(value: float) -> str:
    """Returns a number with three significant digits, and no exponent.

    >>> shown(-0.04567), shown(31.25), shown(0.0), shown(0.00002)
    ('-0.0457', '31.2', '0', '0.00002')
    """
    text = f"{value:.3g}"
    return f"{float(text):.8f}".rstrip("0").rstrip(".") if "e" in text else text


def _document(each: Reproduction) -> dict[str, Any]:
    claim = each.claim
    parts = [
        {
            "measured": finding.part.value,
            "predicted": finding.part.predicted,
            "mean": finding.interval.mean,
            "low": finding.interval.low,
            "high": finding.interval.high,
            "outcome": finding.outcome,
        }
        for finding in each.findings
    ]
    about = {"name": claim.name, "source": claim.source, "says": claim.says, "task": claim.task}
    return about | {"seeds": each.seeds, "outcome": each.outcome, "parts": parts}
