"""Dropout of PyTorch, in its place dropout that has a name; or one method in the place of another."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from thinnet.models.edit.calls import served_calls
from thinnet.models.edit.checks import check_unbound, checked, matches, refuse_unmatched
from thinnet.models.edit.equivalents import equivalent, same_forward
from thinnet.models.rewrite.edits import Change, Edit, made
from thinnet.models.rewrite.modules import device_near, places, shown, swapped, to_device
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
    """Puts other modules in the place of dropout: those of thinnet for PyTorch's, or what a mapping says.

    Rate, `inplace`, mode, hooks and the keys of the `state_dict` stay; a module that is held at several places is replaced
    once, everywhere. `nn.MultiheadAttention` with dropout becomes `thinnet.nn.MultiheadAttention` with the same parameters,
    whose results in eval are the same up to rounding. Subclasses with a forward method of their own are left alone, and so is
    the dropout of `nn.LSTM` and `nn.GRU`, which is inside of one operation; the notes of the edit name them.

    With `functional=True`, calls in forward methods, such as `F.dropout` and `F.scaled_dot_product_attention(dropout_p=)`, are
    served by sites too. The example is run in training mode to find the modules that make such calls. Each gets the sites of
    its calls as children, "dropout_calls.0" and on, numbered as it makes them, and an own `forward`, an attribute of the
    instance, under which a `torch.overrides.TorchFunctionMode` hands the calls to them. From then on the site has the rate and
    says whether it is on: `p` and `training` of the call are not asked, so that what forgot to switch off in eval is off.
    Attention with dropout is computed with its weights, without as before. The forward pass has to make its calls in the order
    of the example. Out of reach are operations that draw in C++, as `nn.LSTM` does, masks made by hand, and a part of a forward
    method that `torch.utils.checkpoint` runs again outside of it: checkpoint modules. Each function that is called in such a
    module costs a few microseconds more; `torch.compile` takes that away.

    Args:
        model: any module.
        mapping: by class, or by `fnmatch` pattern over paths, a function of the old module that makes the new one, or a class
            of sites, which is given the rate. The first that fits counts. PyTorch's dropout by thinnet's if left out.
        functional: whether calls to functions are served as well.
        example: what the model is called with, for that: a tensor, a tuple of arguments, or a mapping of named ones.

    Returns: the edit; it is empty where there is nothing to replace.

    Raises:
        ValueError: a class or pattern of the mapping fits nothing; the new module has other keys in its `state_dict`; the model
            is itself to be replaced; there is no example for `functional`; or its coins are bound. Nothing is changed then.
        TypeError: a function of the mapping makes no module.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3))
    >>> print(replace(model))
    ~ 1: torch.nn.Dropout(p=0.3, inplace=False) -> thinnet.nn.Dropout(p=0.3, inplace=False)
    """
    model = checked("replace", model)
    check_unbound("replace", model)
    if functional and example is None:
        raise ValueError("replace: example must be what the model is called with, to find its calls; got None. Give inputs.")
    changes, notes = _modules(model, mapping)
    if not functional:
        return made(model, changes, notes)
    first = made(model, changes)
    try:
        calls, more = served_calls(model, example)
    finally:
        first.undo()
    return made(model, [*changes, *calls], [*notes, *more])


def _modules(model: nn.Module, mapping: Mapping[Key, Make] | None) -> tuple[list[Change], list[str]]:
    held, used = places(model), set[Key]()
    changes, notes = [], []
    for module in [model, *held]:
        paths = [path for *_, path in held.get(module, ())] or [""]
        key = _key(module, paths, mapping or {})
        used |= {key} - {None}
        new = equivalent(module) if mapping is None else None if key is None else _made(module, mapping[key])
        if new is None:
            notes += _left_alone(paths[0], module) if mapping is None else []
            continue
        if module is model:
            rule = f"replace: model must hold what is replaced; it is {shown(model)} itself"
            raise ValueError(f"{rule}. Put it into a Sequential.")
        _check_keys(paths[0], module, new)
        changes.append(swapped(held[module], module, to_device(new, device_near(model, paths[0]))))
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


def _made(old: nn.Module, make: Make) -> nn.Module:
    new = make(old.p) if isinstance(make, type) else make(old)  # type: ignore[arg-type]
    if not isinstance(new, nn.Module):
        raise TypeError(f"replace: a function of the mapping must make a module; got {new!r} for {shown(old)}.")
    return new


def _check_keys(path: str, old: nn.Module, new: nn.Module) -> None:
    lost, gained = old.state_dict().keys() - new.state_dict().keys(), new.state_dict().keys() - old.state_dict().keys()
    if lost or gained:
        rule = f"replace: a new module must have the keys of the old one in its state_dict; at {path!r}"
        raise ValueError(f"{rule} {sorted(lost)} would be lost and {sorted(gained)} new. Build it into the model.")


def _left_alone(path: str, module: nn.Module) -> list[str]:
    if isinstance(module, nn.RNNBase) and module.dropout > 0:
        return [f"{path} is left alone: the dropout of {type(module).__name__} is inside of one operation"]
    if isinstance(module, (_DropoutNd, nn.MultiheadAttention)) and (isinstance(module, _DropoutNd) or module.dropout > 0):
        return [f"{path} is left alone: {shown(module)} has a forward method of its own"]
    return []
