"""Inserts dropout into a model: at named places, or where the method catalogue advises it."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import nn

from thinnet.methods.elementwise.dropout import Dropout
from thinnet.methods.recurrent.locked_dropout import LockedDropout
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.models.edit.checks import check_model, check_unbound, matches, refuse_unmatched
from thinnet.models.edit.order import Order, order_of
from thinnet.models.edit.placement import placement
from thinnet.models.edit.rates import is_dropout
from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Change, Edit
from thinnet.models.rewrite.modules import BEFORE, BEHIND, insert_change
from thinnet.rng import Site, rates

What = float | Site | type[Site] | Callable[[nn.Module], Site]


def insert(model: nn.Module, policy: Literal["auto"] | Mapping[str, What] = "auto", example: Any = None) -> Edit:
    """Inserts dropout behind the outputs of modules. Classes, indices of a `Sequential` and `state_dict` keys stay.

    The site becomes the child "dropout_behind" of the module, and a forward hook applies it to the output: to a tensor, or to
    the first element of a tuple. So it has a path, follows the mode and the device, and is copied, pickled and compiled with
    the model. Two limits: a module that iterates over its own `children()` runs the site too, and a module that checks for
    hooks before it takes a fused path, such as `nn.TransformerEncoderLayer` in eval, takes the other path.

    "auto" follows the method catalogue:

    - fully connected networks: behind hidden activations;
    - convolutional networks: behind pooling, or with normalisation layers only before the head;
    - recurrent networks: around recurrent layers, with one mask for all time steps;
    - transformers: it sets the existing rates that are zero.

    It skips the output layer and places that have dropout. Each line of the edit gives its reason.

    Args:
        model: any module that is not compiled.
        policy: "auto", or a mapping from paths or `fnmatch` patterns to what is inserted there: a rate (for `Dropout`, or
            `LockedDropout` behind a recurrent layer), a site to copy, a class of sites, or a function from module to site. The
            last match counts.
        example: the input of one forward pass: a tensor, a tuple of arguments, or a mapping of named ones. With it, places and
            the output layer follow the order of execution instead of the order of definition.

    Returns: the edit.

    Raises:
        ValueError: a pattern matches nothing, or matches the output layer without naming it in full; a place has a site
            already; "auto" finds no place; or the sites are bound. The model is unchanged then.
        TypeError: what is inserted is no site.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> print(insert(model))
    + 1: thinnet.nn.Dropout(p=0.5, inplace=False) behind ReLU  (hidden activation)
    # a fully connected network
    # places follow the order of definition; give an example= to follow the order of execution
    """
    model = check_model("insert", model)
    check_unbound("insert", model)
    if policy != "auto" and not isinstance(policy, Mapping):
        raise ValueError(f'insert: policy must be "auto" or a mapping from patterns; got {policy!r}. Try {{"layers.*": 0.1}}.')
    order = order_of(model, example)
    if policy == "auto":
        changes, notes = placement(model, order)
        return apply_changes(model, changes, [*notes, order.note])
    return apply_changes(model, _named(model, policy, order), [order.note] if order.ran else [])


def _named(model: nn.Module, policy: Mapping[str, What], order: Order) -> list[Change]:
    names = {name: module for name, module in model.named_modules() if name and not _inside_a_site(name)}
    output, chosen = order.output(), dict[nn.Module, tuple[str, What]]()
    for pattern, what in policy.items():
        _check(pattern, what)
        found = [name for name in names if matches(name, pattern) and (name == pattern or _takes(names[name]))]
        if not found:
            refuse_unmatched("insert", pattern, names, "a module")
        for name in found:
            if name != pattern and name in output:
                rule = f"insert: pattern {pattern!r} must not match the output layer; it matches {name!r}"
                raise ValueError(f"{rule}. Narrow it, or name {name!r} in full.")
            path, module = _end(name, names[name])
            chosen[module] = path, what
    for module, (path, _) in chosen.items():
        if BEHIND in module._modules:
            raise ValueError(f"insert: {path!r} must have no site yet; it has {module._modules[BEHIND]}. Use set_rates.")
    return [insert_change(model, path, _site(what, module, path)) for module, (path, what) in chosen.items()]


def _inside_a_site(name: str) -> bool:
    return any(part in (BEHIND, BEFORE) for part in name.split("."))


def _takes(module: nn.Module) -> bool:
    """Returns whether a pattern may match a module: it is called, and is no dropout itself."""
    return not isinstance(module, (nn.ModuleList, nn.ModuleDict)) and not is_dropout(module)


def _end(name: str, module: nn.Module) -> tuple[str, nn.Module]:
    """Returns the module that makes the output of a `Sequential`: an inserted child of that would be one more layer."""
    while type(module).forward is nn.Sequential.forward and len(module._modules):
        key, last = list(module._modules.items())[-1]
        assert last is not None
        name, module = f"{name}.{key}", last
    if isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        kind = type(module).__name__
        raise ValueError(f"insert: a place must be one module that is called; {name!r} is a {kind}. Name a module in it.")
    return name, module


def _check(pattern: str, what: Any) -> None:
    if isinstance(what, (int, float)):
        rates.check("insert", what)
    elif not isinstance(what, Site) and not callable(what):
        raise TypeError(f"insert: {pattern!r} must map to a rate, a site or a function that makes one; got {what!r}.")


def _site(what: What, module: nn.Module, path: str) -> Site:
    if isinstance(what, (int, float)):
        site: Any = LockedDropout(what, module.batch_first) if isinstance(module, nn.RNNBase) else Dropout(what)
    elif isinstance(what, nn.Module):
        site = copy.deepcopy(what)
    else:
        site = what() if isinstance(what, type) else what(module)
    if not isinstance(site, Site) or isinstance(site, Wrapped):
        raise TypeError(f"insert: {path!r} must map to a site that takes a tensor; got {site!r}. Try thinnet.nn.Dropout(p).")
    if site.state_dict():
        keys = ", ".join(site.state_dict())
        raise ValueError(f"insert: a site must have no state of its own; {path!r} would add {keys}. Build it into the model.")
    return site
