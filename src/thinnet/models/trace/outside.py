"""Randomness that PyTorch does not make: Python's `random` and NumPy's generator, recorded while a model is watched."""

import functools
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from thinnet.models.trace.draws import Drawn
from thinnet.models.trace.lines import calling_line

PYTHON = ("random", "uniform", "randint", "randrange", "choice", "choices", "sample", "shuffle", "gauss", "getrandbits")
NUMPY = ("rand", "random", "randn", "uniform", "normal", "randint", "choice", "permutation", "binomial", "random_sample")


@contextmanager
def recorded(place: Callable[[], str], drawn: list[Drawn], outermost: FrameType) -> Iterator[None]:
    """Adds what is drawn from Python's and NumPy's global generators to `drawn`; both modules are as before afterwards."""
    numpy = sys.modules.get("numpy")
    sources: list[tuple[Any, str, tuple[str, ...]]] = [(random, "random", PYTHON)]
    if numpy is not None:
        sources.append((numpy.random, "numpy.random", NUMPY))
    replaced = [(module, name, getattr(module, name)) for module, _, names in sources for name in names]
    titles = {id(module): title for module, title, _ in sources}

    def recording(module: Any, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def draw(*args: Any, **kwargs: Any) -> Any:
            event = Drawn(f"{titles[id(module)]}.{name}", (), use="decides")
            event.name, event.line = place(), calling_line(outermost)
            drawn.append(event)
            return function(*args, **kwargs)

        return draw

    for module, name, function in replaced:
        setattr(module, name, recording(module, name, function))
    try:
        yield
    finally:
        for module, name, function in replaced:
            setattr(module, name, function)
