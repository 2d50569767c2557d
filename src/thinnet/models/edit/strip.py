"""Removes all dropout from a model."""

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from thinnet.methods.recurrent.locked_dropout import LockedDropout
from thinnet.methods.registry import REGISTRY
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.models.edit.calls import CALLS
from thinnet.models.edit.checks import check_model, check_scripted
from thinnet.models.edit.decisions import decisions, mute_change
from thinnet.models.edit.freeze import pin_change
from thinnet.models.edit.rates import owners, rate_change
from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Change, Edit, Entry, Write
from thinnet.models.rewrite.modules import BEFORE, BEHIND, Place, places, removal_changes, swap_change
from thinnet.rng import Site

FACTS = {method.module: method.facts for method in REGISTRY}


def strip(model: nn.Module) -> Edit:
    """Removes the dropout of a model: training mode is deterministic, and eval gives the same bits as before.

    - Sites and dropout modules of PyTorch become `torch.nn.Identity` with `p = 0`.
    - Wrappers, such as `DropConnect`, give their layer back.
    - Inserted sites are removed with their hooks.
    - Rates in other modules become 0.
    - A site that has parameters, several inputs, or its own function in eval stays, pinned to eval mode.
    - A module that applies another rate by its own mode, `F.dropout(x, 0.5, self.training)`, is pinned to eval mode, and
      functions that no mode turns off are turned off, in eval too.

    Paths and `state_dict` keys stay.

    Args:
        model: any module.

    Returns: the edit; it is empty if there is nothing to remove.

    Raises: TypeError where `model` is no module.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3))
    >>> print(strip(model))
    ~ 1: torch.nn.Dropout(p=0.3, inplace=False) -> torch.nn.Identity()
    """
    model = check_model("strip", model)
    check_scripted("strip", model)
    held = places(model)
    changes: list[Change] = []
    for path, module in model.named_modules():
        changes += removal_changes(path, module)
        if isinstance(module, (Site, _DropoutNd)) and path.rpartition(".")[2] not in (BEHIND, BEFORE):
            changes.append(_without(path, module, held))
    numbers = {(id(owner.module), owner.attribute): owner for owner in owners(model) if owner.p > 0}
    changes += [rate_change(owner, 0.0) for owner in numbers.values() if not isinstance(owner.module, (Site, _DropoutNd))]
    for each in decisions(model):
        if each.by_mode and each.elsewhere:
            changes.append(pin_change(each.path, each.module, False))
        if each.always:
            changes.append(mute_change(each))
    return apply_changes(model, changes)


def _without(path: str, module: nn.Module, held: dict[nn.Module, list[Place]]) -> Change:
    """Returns the change that removes the noise of one module."""
    if module in held and isinstance(module, Wrapped) and module.bare_in_eval():
        return swap_change(held[module], module, module.layer)
    if module in held and _is_nothing_in_eval(module) and not _read_by_ours(held[module]):
        identity = nn.Identity()
        identity.p = 0.0  # type: ignore[assignment]
        return swap_change(held[module], module, identity)
    kept = pin_change(path, module, False)
    if isinstance(module, _DropoutNd) and not isinstance(module, Site):  # its own forward method may ignore the mode
        return Change(kept.sign, path, f"{kept.text}, its rate 0", [*kept.writes, Write(Entry(module, "__dict__", "p"), 0.0)])
    return kept


def _is_nothing_in_eval(module: nn.Module) -> bool:
    """Returns whether a module, in eval, returns its one input."""
    if isinstance(module, _DropoutNd) and not isinstance(module, Site):
        return type(module).__module__ == nn.Dropout.__module__
    facts = FACTS.get(type(module))
    plain = type(module).forward is Site.forward or type(module) is LockedDropout
    return facts is not None and plain and facts.in_eval is None and not module.state_dict() and not list(module.children())


def _read_by_ours(held: list[Place]) -> bool:
    """Returns whether a module of thinnet holds a site, or a call is served by it."""
    return any(type(parent).__module__.startswith("thinnet.") or CALLS in path.split(".") for parent, _, path in held)
