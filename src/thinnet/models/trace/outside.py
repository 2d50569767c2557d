"""Draws that PyTorch does not make: those of Python's `random` and NumPy's global generator."""

import functools
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from thinnet.models.trace.draws import Draw
from thinnet.models.trace.lines import calling_line
from thinnet.models.trace.operations import Draws

PYTHON = ("random", "uniform", "randint", "randrange", "choice", "choices", "sample", "shuffle", "gauss", "getrandbits")
NUMPY = ("rand", "random", "randn", "uniform", "normal", "randint", "choice", "permutation", "binomial", "random_sample")


@contextmanager
def recorded(draws: Draws) -> Iterator[None]:
    """Records what is drawn from Python's and NumPy's global generators in the context."""
    sources: list[tuple[Any, str, tuple[str, ...]]] = [(random, "random", PYTHON)]
    if "numpy" in sys.modules:
        sources.append((sys.modules["numpy"].random, "numpy.random", NUMPY))
    replaced = [(module, title, name, getattr(module, name)) for module, title, names in sources for name in names]

    def recording(title: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def draw(*args: Any, **kwargs: Any) -> Any:
            made = Draw(title, (), use="decides", name=draws.modules.place, line=calling_line(draws.outermost))
            draws.draws.append(made)
            return function(*args, **kwargs)

        return draw

    for module, title, name, function in replaced:
        setattr(module, name, recording(f"{title}.{name}", function))
    try:
        yield
    finally:
        for module, _, name, function in replaced:
            setattr(module, name, function)
