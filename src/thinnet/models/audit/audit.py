"""Finds mistakes in the dropout of a model by running it, and asserts in tests that there are none."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from thinnet.methods.learned.penalty import forgotten
from thinnet.models.audit import backward, checks, evaluation, measures
from thinnet.models.audit import ranks as between
from thinnet.models.audit.case import Case
from thinnet.models.audit.checks import CHECKS
from thinnet.models.audit.evaluation import random_in_eval
from thinnet.models.audit.measures import MEASURES
from thinnet.models.sites import sites
from thinnet.report.findings import Finding, Findings, Rule
from thinnet.report.progress import tracked
from thinnet.rng.names import unwrap

RULES = sorted(
    {
        value
        for module in (backward, checks, evaluation, measures, between)
        for value in vars(module).values()
        if isinstance(value, Rule)
    },
    key=lambda rule: rule.code,
)

ALL = (random_in_eval, *CHECKS, *MEASURES)


def audit(
    model: nn.Module,
    *example: Any,
    loader: Iterable[Any] | None = None,
    allow: Mapping[str, str] | None = None,
    passes: int = 8,
    seed: int = 0,
    ranks: bool = False,
    run: Callable[[nn.Module], Any] | None = None,
    **named: Any,
) -> Findings:
    """Returns the dropout mistakes of a model, measured on one batch; the model is unchanged afterwards.

    Args:
        model: any module.
        example: what the model is called with.
        loader: provides the example instead: its first batch, without the target where a batch is a pair.
        allow: findings that are intended, with the reason: `{"AUD101 decoder.prenet*": "prenet dropout stays on"}`, by
            `fnmatch` over the code and the path of the module.
        passes: how often the model runs in training mode.
        seed: seed of the passes.
        ranks: compares the ranks of one run instead: their masks, modes, rates and seeds. All ranks call it, each with its
            batch; the model runs once in each mode, with the generators as they are.
        run: runs the model, where `model(*example, **named)` does not.
        named: keyword arguments of the call.

    Raises:
        TypeError: `model` is no module.
        ValueError: there is nothing to call it with, a reason is empty, or `ranks` without several ranks.

    >>> import torch
    >>> class Head(nn.Module):
    ...     def forward(self, x):
    ...         return nn.functional.dropout(x, 0.5)
    >>> [finding.rule.code for finding in audit(Head(), torch.randn(64, 32)) if finding.fails]
    ['AUD101', 'AUD301']
    """
    if loader is not None:
        example, named = _batch(loader)
    if not example and not named and run is None:
        raise ValueError("audit: example must be what the model is called with; got none. Give inputs, or loader=.")
    if any(not isinstance(reason, str) or not reason.strip() for reason in (allow or {}).values()):
        raise ValueError("audit: allow must give a reason for each pattern; got an empty one.")
    if ranks:
        found = between.between_ranks(model, run or (lambda model: model(*example, **named)))
        return Findings(_allowed(finding, allow or {}) for finding in found).by_severity()
    before = _looked_before(model)
    seen = sites(model, *example, passes=passes, seed=seed, run=run, **named)
    call = run or (lambda model: model(*example, **named))
    case = Case(model, unwrap(model), call, seen, *before, seed, None if run is not None else (example, named))
    findings = [finding for check in tracked(ALL, "audit", len(ALL)) for finding in check(case)]
    return Findings(_allowed(finding, allow or {}) for finding in findings).by_severity()


def _looked_before(model: nn.Module) -> tuple[dict[str, bool], tuple[str, ...]]:
    """Returns the modes of all modules, and the paths of unread penalties, before anything runs."""
    if not isinstance(model, nn.Module):
        return {}, ()  # `sites` refuses it
    root = unwrap(model)
    return {name: module.training for name, module in root.named_modules()}, tuple(forgotten(root))


def _batch(loader: Iterable[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    batch = next(iter(loader))
    if isinstance(batch, Mapping):
        return (), {str(name): value for name, value in batch.items() if name not in ("label", "labels")}
    return (batch[0] if isinstance(batch, (tuple, list)) else batch,), {}


def _allowed(finding: Finding, allow: Mapping[str, str]) -> Finding:
    name = f"{finding.rule.code} {finding.module}"
    reasons = [reason for pattern, reason in allow.items() if fnmatchcase(name, pattern) or pattern == finding.rule.code]
    return replace(finding, allowed=reasons[0]) if reasons else finding


def assert_dropout_right(model: nn.Module, *example: Any, **options: Any) -> None:
    """Asserts in a test that an audit has no errors and no warnings. Takes the arguments of `audit`.

    Raises:
        AssertionError: with the findings.

    >>> import torch
    >>> assert_dropout_right(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)), torch.randn(64, 8))
    """
    findings = audit(model, *example, **options)
    counted = Findings(finding for finding in findings if finding.fails)
    if counted:  # an assert would pass under `python -O`
        raise AssertionError(f"{len(counted)} to fix\n{counted}")
