"""Keeps dropout on or off, whatever `model.train()` and `model.eval()` set."""

from collections.abc import Iterable

from torch import nn

from thinnet.models.edit.checks import check_model, matches, refuse_unmatched
from thinnet.models.edit.rates import owners
from thinnet.models.rewrite.edits import Change, Edit, Write, apply_changes
from thinnet.models.rewrite.methods import Mode, Pinned
from thinnet.models.rewrite.modules import describe
from thinnet.rng import Site


def freeze(model: nn.Module, patterns: str | Iterable[str] | None = None, training: bool = False) -> Edit:
    """Pins the mode of dropout: off for a frozen trunk, or on for Monte-Carlo dropout.

    `train()` and `eval()` of the model no longer change the flag of these modules; their children still follow the model. Code
    that writes `module.training` itself still has its effect. A module that holds a rate as a number, such as
    `nn.MultiheadAttention`, is pinned as a whole. Copies and pickles stay pinned. `undo` sets each module to the mode that was
    asked for last.

    Args:
        model: any module.
        patterns: one or several `fnmatch` patterns over the paths of modules with a rate; all of them by default.
        training: False for off, True for on.

    Returns: the edit.

    Raises:
        ValueError: a pattern matches no module with a rate, or the model has none.
        TypeError: `model` is no module, or `training` is no bool.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    >>> edit = freeze(model)
    >>> model.train()[1].training
    False
    >>> edit.undo()
    >>> model[1].training
    True
    """
    model = check_model("freeze", model)
    if not isinstance(training, bool):
        raise TypeError(f"freeze: training must be True or False; got {training!r}. It is the mode to keep.")
    there = {owner.path: owner.module for owner in owners(model)}
    there |= {path: module for path, module in model.named_modules() if isinstance(module, Site)}
    chosen: dict[nn.Module, str] = {}
    for pattern in (patterns,) if isinstance(patterns, str) else ("*",) if patterns is None else patterns:
        found = [(path, module) for path, module in there.items() if matches(path, pattern)]
        if not found:
            refuse_unmatched("freeze", pattern, there, "a module with a rate")
        for path, module in found:
            chosen.setdefault(module, path)
    changes = [pin_change(path, module, training) for module, path in chosen.items()]
    return apply_changes(model, changes, _fused_layers(model, training))


def pin_change(path: str, module: nn.Module, training: bool, reason: str = "") -> Change:
    """Returns the change that pins the mode of a module."""
    word = "on" if training else "off"
    return Change("~", path, f"{describe(module)} stays {word}", [Write(Mode(module), Pinned(module, training))], reason)


def _fused_layers(model: nn.Module, training: bool) -> list[str]:
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.TransformerEncoderLayer)]
    if not training or not layers:
        return []
    return [f"{layers[0]}: PyTorch's fused path skips its modules; torch.backends.mha.set_fastpath_enabled(False) turns it off"]
