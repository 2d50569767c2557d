"""What an audit checks: a model, how to run it, and its sites."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from thinnet.models import declared
from thinnet.models.found import DROPS, FoundSite, Sites
from thinnet.models.rewrite.methods import is_pinned
from thinnet.models.state import preserve_state
from thinnet.models.trace import trace
from thinnet.report.findings import Finding, Location, Rule

NEAR_ONE = 0.1  # how far from one the mean of numbers may be that multiply activations as dropout does


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
        inputs: positional and keyword arguments of the call; None where the caller runs the model.
    """

    given: nn.Module
    model: nn.Module
    call: Callable[[nn.Module], Any]
    sites: Sites
    modes: dict[str, bool]
    forgotten: tuple[str, ...]
    seed: int = 0
    inputs: tuple[Any, Any] | None = None

    @cached_property
    def visited(self) -> set[str]:
        """The paths of the modules that a training pass runs."""
        with preserve_state(self.model, self.seed), torch.no_grad():
            self.model.train()
            return trace(self.model, lambda: self.call(self.model)).visited

    @cached_property
    def rows_apart(self) -> bool:
        """Whether eval computes the last row of axis 0 from that row alone; True where that cannot be told."""
        sizes = [len(leaf) for leaf in tree_leaves(self.inputs) if isinstance(leaf, Tensor) and leaf.ndim]
        if self.inputs is None or not sizes or sizes[0] < 2 or any(site.on_in_eval for site in self.sites):
            return True

        def last(leaf: Any) -> Any:
            return leaf[-1:] if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == sizes[0] else leaf

        (args, named), (one, one_named) = self.inputs, tree_map(last, self.inputs)
        with preserve_state(self.model, self.seed) as state, torch.no_grad():
            self.model.eval()
            whole = self.model(*args, **named)
            state.restore()
            self.model.eval()
            try:
                alone = self.model(*one, **one_named)
            except Exception:  # a model may need all rows
                return True
        pairs = zip(tree_leaves(whole), tree_leaves(alone), strict=False)
        rows = [(a[-1:], b) for a, b in pairs if isinstance(a, Tensor) and a.ndim and len(a) == sizes[0] and len(b) == 1]
        return all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in rows if a.shape == b.shape)

    def drops(self, site: FoundSite) -> bool:
        """Returns whether a site drops units, or multiplies them by numbers of mean one.

        Random subsets of a given size sample points or tokens. Numbers with another mean mix tensors, or sample a distribution.
        """
        known = site.p is not None or declared.is_dropout(self.module(site.name))
        if site.kind == "multiplicative noise":
            return known or (site.mean is not None and abs(site.mean - 1) < NEAR_ONE)
        return known if site.kind == "subset" else site.kind in DROPS

    def module(self, name: str) -> nn.Module | None:
        """Returns the module of a path; None where there is none."""
        return dict(self.model.named_modules()).get(name)


def at(site: FoundSite, rule: Rule, evidence: str, remedy: str) -> Finding:
    """Returns a finding at a site."""
    return Finding(rule, site.name, Location.parse(site.line), evidence, remedy)


def pinned(module: nn.Module | None) -> bool:
    """Returns whether `thinnet.freeze` keeps the mode of a module as it is."""
    return module is not None and is_pinned(module)
