"""Loads the names of a package when they are first asked for."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def lazy(
    package: str, places: Mapping[str, str], modules: Sequence[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Returns `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: its name.
        places: for each name, the module that defines it.
        modules: the submodules that are loaded on demand.
    """

    def getattribute(name: str) -> object:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name in places:
            found = getattr(import_module(places[name]), name)
            setattr(sys.modules[package], name, found)
            return found
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    public = sorted((*modules, *places))
    return getattribute, public.copy, public
