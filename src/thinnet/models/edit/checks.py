"""Checks of the arguments that all edits share."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NoReturn

import torch
from torch import nn

from thinnet.rng import Site
from thinnet.rng.names import unwrap

SCRIPTED = re.compile(r"\b(\w*dropout\w*|bernoulli_?)\(")  # a call in a graph


def check_model(function: str, model: nn.Module) -> nn.Module:
    """Returns the model without the wrappers of `torch.compile` and data parallelism.

    Raises: TypeError where it is no module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{function}: model must be a torch.nn.Module; got {type(model).__name__}. Call its factory first.")
    model = unwrap(model)
    if isinstance(model, torch.jit.ScriptModule):
        rule = f"{function}: model must be a module of Python; got a {type(model).__name__}, whose dropout is compiled in"
        raise TypeError(f"{rule}. Give the module that it was made from.")
    return model


def check_scripted(function: str, model: nn.Module) -> None:
    """Raises a TypeError where a part of a model is a ScriptModule with dropout: its mode is compiled in."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) and SCRIPTED.search(_code(module)):
            rule = f"{function}: dropout must be in modules of Python; {name!r} is a {type(module).__name__} with dropout"
            raise TypeError(f"{rule}, whose mode is compiled in. Put the module there that it was made from.")


def _code(module: torch.jit.ScriptModule) -> str:
    try:
        return str(module.inlined_graph)
    except (AttributeError, RuntimeError):  # it has no forward method
        return ""


def check_unbound(function: str, model: nn.Module) -> None:
    """Raises a ValueError where a site is bound: a new site would have no address among the bound ones."""
    bound = [name for name, module in model.named_modules() if isinstance(module, Site) and module.context is not None]
    if bound:
        rule = f"{function}: sites must not be bound yet, as new sites would have no address"
        raise ValueError(f"{rule}; {bound[0]!r} is. Call rng.unbind(), edit, and bind again.")


def matches(name: str, pattern: str) -> bool:
    """Returns whether a name equals a pattern, or matches it by `fnmatch`.

    >>> matches("encoder.3.drop", "encoder.*"), matches("head", "encoder.*")
    (True, False)
    """
    return name == pattern or fnmatchcase(name, pattern)


def refuse_unmatched(function: str, pattern: str, names: Iterable[str], what: str) -> NoReturn:
    """Raises a ValueError for a pattern that matches nothing, and lists the names."""
    there = ", ".join(sorted(set(names) - {""})) or "none"
    raise ValueError(f"{function}: pattern {pattern!r} must match {what}; there are: {there}.")
