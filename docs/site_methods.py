"""Generates `methods/site_methods.py`: the methods that can stand at a dropout site, which needs no PyTorch to be read."""

import inspect
import re
import warnings

import torch

from docs.faces import NOTE, PACKAGE
from thinnet.methods.cards import read
from thinnet.methods.catalogue import first
from thinnet.methods.facts import Method
from thinnet.methods.registry import REGISTRY
from thinnet.rng import Site

NAME = "methods/site_methods.py"
TITLE = "The methods that can replace each other at a dropout site, and what each does."
BREAK = re.compile("[.;:,] | and scales ")  # behind it come details
SHAPES = ((4, 8), (4, 8, 8), (4, 8, 8, 8), (4, 8, 8, 8, 8))


def stands_alone(method: Method) -> bool:
    """Returns whether a method is a site that needs a rate and one tensor alone, is the identity in eval, and gives numbers."""
    kind = method.module
    if kind is None or not issubclass(kind, Site) or method.facts.in_eval is not None:
        return False
    rate, *options = inspect.signature(kind).parameters.values()
    taken = list(inspect.signature(kind.forward).parameters.values())[1:]
    if rate.name != "p" or any(option.default is option.empty for option in options):
        return False
    return len([each for each in taken if each.default is each.empty]) == 1 and gives_numbers(kind)


def gives_numbers(kind: type[Site]) -> bool:
    """Returns whether the output is finite, for the shapes that the method takes."""
    finite = []
    with torch.random.fork_rng(devices=()), warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in SHAPES:
            try:
                finite.append(bool(kind(0.5).train()(torch.ones(shape)).isfinite().all()))
            except (ValueError, RuntimeError, UserWarning):  # a method for other shapes
                continue
    return bool(finite) and all(finite)


def text() -> str:
    """Returns the generated file."""
    rows = []
    for method in filter(stands_alone, REGISTRY):
        words = BREAK.split(read(first(method)).summary)[0].removesuffix(".")
        rows.append(f'    "{method.name}": "{words[0].lower()}{words[1:]}",')
    return "\n".join([f'"""{TITLE}\n\n{NOTE}\n"""\n', "SITE_METHODS = {", *rows, "}", ""])


def update(check: bool) -> list[str]:
    """Writes the file if it is out of date, unless it only checks; returns its name then."""
    path, new = PACKAGE / NAME, text()
    if path.exists() and path.read_text(encoding="utf-8") == new:
        return []
    if not check:
        path.write_text(new, encoding="utf-8")
    return [f"src/thinnet/{NAME}"]
