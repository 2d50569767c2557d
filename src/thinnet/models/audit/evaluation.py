"""The checks of an audit for what is random in evaluation mode."""

from collections.abc import Iterator

import torch

from thinnet.models.audit.case import Case, at
from thinnet.models.found import FoundSite
from thinnet.models.state import preserve_state
from thinnet.models.trace import trace
from thinnet.models.trace.operations import Redrawn
from thinnet.report.findings import Finding, Rule

IN_EVAL = Rule("AUD101", "random in eval", "error")
IN_EVAL_NOTE = Rule("AUD102", "random in eval, but no dropout", "note")
SILENT = ("no use", "silent", "not reached", "not applied", "reseeding")


def random_in_eval(case: Case) -> Iterator[Finding]:
    """Sites that draw in evaluation mode: errors where it is dropout, notes where it is anything else."""
    for site in case.sites:
        if not site.on_in_eval or site.kind in SILENT:
            continue
        wrong = _skips_modules(case, site) if site.kind == "decision" else case.drops(site)
        if wrong:
            rate = "" if site.measured is None else f" and dropped {site.measured:.3f} of its units"
            remedy = (
                "Make it depend on the mode: training=self.training, or dropout_p=p if self.training else 0.0 for attention."
            )
            yield at(site, IN_EVAL, f"{site.op} drew in model.eval(){rate}.", remedy)
        else:
            kind = "a sample of a distribution" if site.kind in ("additive noise", "multiplicative noise") else f"a {site.kind}"
            evidence = f"{site.op} drew in model.eval(): {kind}."
            yield at(
                site, IN_EVAL_NOTE, evidence, "Seed it, or make it depend on the mode, if the output has to be deterministic."
            )


def _skips_modules(case: Case, site: FoundSite) -> bool:
    """Returns whether other numbers at a site change which modules run, as dropped layers do."""
    visited = []
    for end in ("low", "high"):
        with preserve_state(case.model, case.seed), torch.no_grad():
            case.model.eval()
            redrawn = Redrawn({site.address}, end)
            visited.append(trace(case.model, lambda: case.call(case.model), level="draws", redrawn=redrawn).visited)
    return visited[0] != visited[1]
