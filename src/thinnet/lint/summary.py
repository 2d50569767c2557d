"""The lines below the findings: totals and counts by rule."""

from collections import Counter
from collections.abc import Sequence

from thinnet.lint.engine import IS_PYTHON_2
from thinnet.lint.run import FileResult
from thinnet.report.formatting import counted


def summary(results: Sequence[FileResult]) -> str:
    """Returns one line with the number of findings, of files and of fixes."""
    findings = [finding for result in results for finding in result.findings]
    fixed = sum(result.fixed for result in results)
    fixes = [f"{fixed} fixed"] if fixed else []
    if not findings:
        return "; ".join([f"Nothing found in {counted(len(results), 'file')}", *fixes]) + "."
    files = sum(bool(result.findings) for result in results)
    found = f"{counted(len(findings), 'finding')} in {files} of {counted(len(results), 'file')}"
    safe = sum(finding.safe for finding in findings)
    other = sum(bool(finding.edits) for finding in findings) - safe
    fixable = [f"{safe} can be fixed with --fix"] if safe else []
    if other:
        fixable.append(f"{other} more with --unsafe-fixes" if safe else f"{other} can be fixed with --unsafe-fixes")
    return "; ".join([found, *fixes, *fixable]) + "."


def statistics(results: Sequence[FileResult]) -> str:
    """Returns one line a rule with its number of findings, the most frequent first, and the summary."""
    counts = Counter(finding.rule for result in results for finding in result.findings)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0].code))
    return "\n".join([*(f"{number:5} {rule.code} {rule.name}" for rule, number in ordered), summary(results)])


def skipped(results: Sequence[FileResult]) -> list[str]:
    """Returns one line for each file that was skipped, and a single one for all files in Python 2."""
    lines = [f"{result.path}: skipped: {result.error}" for result in results if result.error not in (None, IS_PYTHON_2)]
    old = [result.path for result in results if result.error == IS_PYTHON_2]
    if len(old) > 1:
        return [*lines, f"{old[0]} and {counted(len(old) - 1, 'other file')}: skipped: they are Python 2"]
    return [*lines, *(f"{path}: skipped: {IS_PYTHON_2}" for path in old)]
