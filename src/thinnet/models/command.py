"""The commands `thinnet sites` and `thinnet audit`."""

import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text
from torch import nn

from thinnet.models.audit.audit import audit
from thinnet.models.loading import LoadError, example, load
from thinnet.models.site_page import site_page
from thinnet.models.sites import sites
from thinnet.report.findings import Findings, Format
from thinnet.report.page import write


def show_sites(place: str, inputs: list[str], passes: int, as_json: bool, html: Path | None) -> int:
    """Prints the sites of a model and returns the exit code."""
    try:
        model, given = load(place, "sites"), [example(text, "sites") for text in inputs]
    except LoadError as error:
        return _refused(error)
    found = sites(model, *given, passes=passes)
    if html is not None:
        write(html, site_page(model, found))
    if as_json:
        sys.stdout.write(found.json() + "\n")
    else:
        Console().print(found)
    return 0


def show_findings(place: str, inputs: list[str], passes: int, allow: list[str], output: Format) -> int:
    """Audits a model, prints the findings and returns the exit code: 1 with findings, 0 without."""
    try:
        model, given = load(place, "audit"), [example(text, "audit") for text in inputs]
        findings = _audited(model, given, passes, allow)
    except LoadError as error:
        return _refused(error)
    if output is not Format.text:
        sys.stdout.write(findings.render(output) + "\n")
        return int(findings.failed)
    console = Console()
    console.print(findings)
    console.print(Text(findings.summary(), style="bold red" if findings.failed else "bold green"))
    return int(findings.failed)


def _audited(model: nn.Module, given: list, passes: int, allow: list[str]) -> Findings:
    pairs = [text.partition("=") for text in allow]
    for pattern, _, reason in pairs:
        if not pattern.strip() or not reason.strip():
            raise LoadError(f"audit: --allow must be CODE MODULE=REASON; got {pattern!r} without a reason.")
    if not given:
        raise LoadError("audit: --input is required, because the audit runs the model. Try --input 4x3x32x32.")
    return audit(model, *given, passes=passes, allow={pattern.strip(): reason for pattern, _, reason in pairs})


def _refused(error: LoadError) -> int:
    sys.stderr.write(f"{error}\n")
    return 2
