"""Import an optional library, or say how to install it."""

from importlib import import_module
from typing import Any


def need(library: str, user: str) -> Any:
    """Import an optional library.

    Args:
        library: the name of the module.
        user: the function that needs it; the error starts with it.

    Raises:
        ImportError: the library is not installed.
    """
    name = library.partition(".")[0]
    try:
        import_module(name)
        return import_module(library)
    except ImportError:
        raise ImportError(f"{user}: {name} must be installed; it is not. Run pip install {name}.") from None
