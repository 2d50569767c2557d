"""Optional libraries: which extra of the package brings them, and an error that names the command that installs them."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

EXTRAS = {
    "study": (
        "all commands but lint",
        "jinja2 numpy optuna pandas pillow plotly pyarrow rich scikit-learn scipy typer",
    ),
    "workers": ("studies on several machines", "psycopg ray"),
    "inference": ("figures, pages and calibration metrics", "jinja2 numpy plotly rich scikit-learn torchmetrics"),
    "rivals": ("RealMLP and TabM as rivals in a study", "pytabkit tabm"),
    "sklearn": ("estimators of scikit-learn", "joblib numpy scikit-learn"),
    "lint": ("thinnet lint", "libcst rich typer"),
    "gpu": ("kernels for CUDA devices (Linux)", "triton"),
    "examples": ("the libraries that examples/ uses", "accelerate lightning scikit-learn skorch transformers"),
}
"""What each extra in pyproject.toml gives, and its libraries."""
MODULES = {"scikit-learn": "sklearn", "pillow": "PIL"}
"""Libraries whose module has another name."""


class MissingLibrary(ModuleNotFoundError):
    """An optional library is not installed. The message says how to install it."""


def need(library: str, user: str, extra: str | None = None) -> Any:
    """Imports an optional library.

    Args:
        library: the name of the module.
        user: the function that needs it; the error starts with it.
        extra: the extra of thinnet to advise instead of the library.

    Raises:
        MissingLibrary: the library is not installed.
    """
    name = library.partition(".")[0]
    try:
        import_module(name)
        return import_module(library)
    except ImportError:
        pip = next((library for library, module in MODULES.items() if module == name), name)
        wanted = pip if extra is None else f"'thinnet[{extra}]'"
        raise MissingLibrary(f"{user}: {pip} must be installed; it is not. Run pip install {wanted}.", name=name) from None


def extra_of(module: str, preferred: str) -> str | None:
    """Returns the extra that brings a module: the preferred one if it does, else the first; None if none does.

    >>> extra_of("typer", "lint"), extra_of("sklearn", "lint"), extra_of("torch", "lint")
    ('lint', 'study', None)
    """
    names = (preferred, *EXTRAS)
    return next((name for name in names if module in map(module_of, libraries(name))), None)


def libraries(extra: str) -> list[str]:
    """Returns the libraries of an extra, by the name that pip knows."""
    return EXTRAS[extra][1].split()


def module_of(library: str) -> str:
    """Returns the name under which Python imports a library."""
    return MODULES.get(library, library.replace("-", "_"))


def installed(library: str) -> str | None:
    """Returns the version of a library; None if it cannot be imported."""
    if find_spec(module_of(library)) is None:
        return None
    try:
        return version(library)
    except PackageNotFoundError:
        return "unknown version"
