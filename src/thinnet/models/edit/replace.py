"""Replaces dropout modules and dropout functions by sites, or one method by another."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from thinnet.models import declared
from thinnet.models.edit.calls import serving_changes
from thinnet.models.edit.checks import check_model, check_unbound, matches, refuse_unmatched
from thinnet.models.edit.equivalents import equivalent, same_forward
from thinnet.models.edit.rates import is_dropout
from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Change, Edit
from thinnet.models.rewrite.modules import describe, device_near, places, swap_change, to_device
from thinnet.rng import Site

Key = str | type[nn.Module]
Make = type[Site] | Callable[[nn.Module], nn.Module]


def replace(
    model: nn.Module,
    mapping: Mapping[Key, Make] | None = None,
    *,
    functional: bool = False,
    example: Any = None,
) -> Edit:
    """Replaces the dropout modules of PyTorch by those of thinnet, or modules by what a mapping says.

    Rate, `inplace`, mode, hooks and `state_dict` keys stay. A shared module is replaced once, everywhere.
    `nn.MultiheadAttention` with dropout becomes `thinnet.nn.MultiheadAttention` with the same parameters; in eval both agree up
    to rounding. Three things stay unchanged, and the notes of the edit name them: subclasses with their own forward method, the
    dropout inside `nn.LSTM` and `nn.GRU`, and dropout classes of other libraries, such as timm's `DropPath`.

    `functional=True` also serves calls in forward methods by sites, such as `F.dropout`,
    `F.scaled_dot_product_attention(dropout_p=)` and `thinnet.functional.attention`. The example runs in training mode to find
    these calls. Call number k of a module goes to its new child "dropout_calls.k", and the order of the calls must stay that of
    the example. The site then has
    the rate and the mode, whatever `p` and `training` the call passes: dropout that ignored eval is off in eval. It costs a few
    microseconds for each function that the module calls, unless it is compiled. Out of reach are operations that draw in C++,
    masks made by hand, and functions under `torch.utils.checkpoint`: checkpoint modules instead.

    Args:
        model: any module.
        mapping: by class, or by `fnmatch` pattern over paths, a function from the old module to the new one, or a class of
            sites, which gets the old rate; that of `nn.Identity`, which many models use for no dropout, is 0. The first match
            counts. By default it maps PyTorch's dropout to thinnet's.
        functional: whether to serve calls to functions as well.
        example: the input for that: a tensor, a tuple of arguments, or a mapping of named ones.

    Returns: the edit; it is empty if there is nothing to replace.

    Raises:
        ValueError: a class or pattern matches nothing; a class of sites meets a module without a rate; the new module has other
            `state_dict` keys; the model itself would be replaced; `functional` has no example; or the sites are bound. The
            model is unchanged then.
        TypeError: a function of the mapping makes no module.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3))
    >>> print(replace(model))
    ~ 1: torch.nn.Dropout(p=0.3, inplace=False) -> thinnet.nn.Dropout(p=0.3, inplace=False)
    """
    model = check_model("replace", model)
    check_unbound("replace", model)
    if functional and example is None:
        raise ValueError("replace: example must be an input of the model, to find its calls; got None. Give one.")
    changes, notes = _modules(model, mapping)
    if not functional:
        return apply_changes(model, changes, notes)
    first = apply_changes(model, changes)
    try:
        calls, more = serving_changes(model, example)
    finally:
        first.undo()
    return apply_changes(model, [*changes, *calls], [*notes, *more])


def _modules(model: nn.Module, mapping: Mapping[Key, Make] | None) -> tuple[list[Change], list[str]]:
    held, used = places(model), set[Key]()
    changes, notes = [], []
    for module in [model, *held]:
        paths = [path for *_, path in held.get(module, ())] or [""]
        key = _key(module, paths, mapping or {})
        used |= {key} - {None}
        new = equivalent(module) if mapping is None else None if key is None else _made(paths[0], module, mapping[key])
        if new is None:
            notes += _unchanged(paths[0], module) if mapping is None else []
            continue
        if module is model:
            rule = f"replace: model must contain what is replaced; it is {describe(model)} itself"
            raise ValueError(f"{rule}. Put it into a Sequential.")
        _check_keys(paths[0], module, new)
        changes.append(swap_change(held[module], module, to_device(new, device_near(model, paths[0]))))
    for key in (mapping or {}).keys() - used:
        paths = [path for all_of_it in held.values() for *_, path in all_of_it]
        kinds = [type(module).__name__ for module in held]
        refuse_unmatched("replace", *((key, paths) if isinstance(key, str) else (key.__name__, kinds)), "a module")
    return changes, notes


def _key(module: nn.Module, paths: list[str], mapping: Mapping[Key, Make]) -> Key | None:
    for key in mapping:
        if same_forward(module, key) if isinstance(key, type) else any(matches(path, key) for path in paths if path):
            return key
    return None


def _made(path: str, old: nn.Module, make: Make) -> nn.Module:
    new = make(_rate(path, old, make)) if isinstance(make, type) else make(old)
    if not isinstance(new, nn.Module):
        raise TypeError(f"replace: a function of the mapping must make a module; got {new!r} for {describe(old)}.")
    return new


def _rate(path: str, old: nn.Module, kind: type[Site]) -> float:
    rate = 0.0 if type(old) is nn.Identity and not hasattr(old, "p") else declared.rate(old)
    if rate is None:
        rule = f"replace: {kind.__name__} must replace a module with a rate; {path!r} is {describe(old)}, which has none"
        raise ValueError(f"{rule}. Give a function of the old module: lambda old: {kind.__name__}(0.1).")
    return rate


def _check_keys(path: str, old: nn.Module, new: nn.Module) -> None:
    lost, gained = old.state_dict().keys() - new.state_dict().keys(), new.state_dict().keys() - old.state_dict().keys()
    if lost or gained:
        rule = f"replace: a new module must have the keys of the old one in its state_dict; at {path!r}"
        raise ValueError(f"{rule} {sorted(lost)} would be lost and {sorted(gained)} new. Build it into the model.")


def _unchanged(path: str, module: nn.Module) -> list[str]:
    if isinstance(module, Site):
        return []
    if isinstance(module, nn.RNNBase) and module.dropout > 0:
        return [f"{path} is unchanged: the dropout of {type(module).__name__} is inside one operation"]
    attention = isinstance(module, nn.MultiheadAttention) and module.dropout > 0
    if attention or isinstance(module, _DropoutNd):
        return [f"{path} is unchanged: {describe(module)} has its own forward method"]
    if is_dropout(module) and not list(module.children()) and declared.rate(module):
        return [f"{path} is unchanged: {describe(module)} is not PyTorch's; a mapping can replace it"]
    return []
