"""What an audit checks: a model, how to run it, and its sites."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from thinnet.models.found import FoundSite, Sites
from thinnet.models.rewrite.methods import is_pinned
from thinnet.report.findings import Finding, Location, Rule

RANDOM = ("dropout", "multiplicative noise", "dropped keys", "subset", "decision")


@dataclass(frozen=True)
class Case:
    """What is audited: the model, how to run it, and its sites.

    Args:
        given: the model as the caller passed it: it may be compiled or wrapped.
        model: the model inside of that.
        call: runs one of them.
        sites: the sites of the model.
        modes: the training flag of each module before the audit.
        forgotten: the paths of modules whose penalty was not read since they last ran in training.
        seed: the seed of each run.
    """

    given: nn.Module
    model: nn.Module
    call: Callable[[nn.Module], Any]
    sites: Sites
    modes: dict[str, bool]
    forgotten: tuple[str, ...]
    seed: int = 0

    def module(self, name: str) -> nn.Module | None:
        """Returns the module of a path; None where there is none."""
        return dict(self.model.named_modules()).get(name)


def at(site: FoundSite, rule: Rule, evidence: str, remedy: str) -> Finding:
    """Returns a finding at a site."""
    return Finding(rule, site.name, Location.parse(site.line), evidence, remedy)


def pinned(module: nn.Module | None) -> bool:
    """Returns whether `thinnet.freeze` keeps the mode of a module as it is."""
    return module is not None and is_pinned(module)
