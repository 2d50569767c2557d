"""Import an optional library; the error names the command that installs it."""

from importlib import import_module
from typing import Any


def need(library: str, user: str) -> Any:
    """Import an optional library.

    Args:
        library: the name of the module.
        user: the function that needs it; the error starts with it.

    Raises:
        ModuleNotFoundError: the library is not installed.
    """
    name = library.partition(".")[0]
    try:
        import_module(name)
        return import_module(library)
    except ImportError:
        message = f"{user}: {name} must be installed; it is not. Run pip install {name}."
        raise ModuleNotFoundError(message, name=name) from None
