"""Loads a model and makes its inputs from command-line arguments."""

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

INPUT = re.compile(r"(?P<shape>\d+(x\d+)*)?(:(?P<dtype>\w+))?(:(?P<top>\d+))?")


class LoadError(ValueError):
    """A mistake in the command line. The message says how to fix it."""


def load(place: str, function: str) -> nn.Module:
    """Returns the model of `FILE.py:FACTORY`. FACTORY is a module, or a function or class that is called without arguments.

    Raises:
        LoadError: the file or the name does not exist, or it gives no module.
    """
    file, colon, name = place.rpartition(":")
    if not colon or not file or not name.isidentifier():
        raise LoadError(f"{function}: MODEL must be FILE.py:FACTORY or package.module:FACTORY; got {place!r}.")
    factory: Any = _module(file, function)
    if not hasattr(factory, name):
        raise LoadError(f"{function}: {file} has no {name!r}. It has {', '.join(_names(factory)) or 'no public names'}.")
    made = getattr(factory, name)
    made = made if isinstance(made, nn.Module) else made()
    if not isinstance(made, nn.Module):
        raise LoadError(f"{function}: {name} must return a torch.nn.Module; got {type(made).__name__}. Return the model.")
    return made


def _module(file: str, function: str) -> Any:
    if not file.endswith(".py"):
        try:
            return importlib.import_module(file)
        except ModuleNotFoundError as error:
            raise LoadError(f"{function}: {file!r} cannot be imported: {error}. Give a FILE.py:FACTORY.") from None
    path = Path(file)
    if not path.is_file():
        raise LoadError(f"{function}: there is no file {file!r}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # as Python does for a script
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _names(module: Any) -> list[str]:
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]


def example(text: str, function: str) -> Tensor:
    """Returns a random input: standard normal for `4x3x32x32`, integers below 1000 for `2x12:int64:1000`.

    Raises:
        LoadError: the text is no shape, or the dtype does not exist.

    >>> example("2x3", "sites").shape, example("2x3:int64:10", "sites").dtype
    (torch.Size([2, 3]), torch.int64)
    """
    found = INPUT.fullmatch(text)
    dtype = getattr(torch, found["dtype"] or "float32", None) if found else None
    if found is None or not isinstance(dtype, torch.dtype):
        rule = "a shape such as 4x3x32x32, or 2x12:int64:1000 for integers below 1000"
        raise LoadError(f"{function}: --input must be {rule}; got {text!r}.")
    shape = [int(size) for size in (found["shape"] or "").split("x") if size]
    if dtype.is_floating_point:
        return torch.randn(shape).to(dtype)
    return torch.randint(0, int(found["top"] or 2), shape).to(dtype)
