"""Loads a model and makes its inputs from command-line arguments."""

import importlib
import importlib.util
import inspect
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.report.mistakes import Mistake

INPUT = re.compile(r"(?P<shape>\d+(x\d+)*)?(:(?P<dtype>\w+))?(:(?P<top>\d+))?")
SHAPES = "a shape such as 4x3x32x32, or 2x12:int64:1000 for integers below 1000"
LISTED = 6  # names in an error message
PATHS = sysconfig.get_paths()
NOT_THE_USERS = (PATHS["stdlib"], PATHS["purelib"], PATHS["platlib"], str(Path(__file__).parents[1]), "<frozen ")


class LoadError(Mistake):
    """A mistake in the command line or in the user's code. The message says how to fix it."""


def load(place: str, function: str) -> nn.Module:
    """Returns the model of `FILE.py:FACTORY`. FACTORY is a module, or a function or class that is called without arguments.

    Raises:
        LoadError: the file or the name does not exist, its code raises an error, or it gives no module.
    """
    file, colon, name = place.rpartition(":")
    if not colon or not file or not name.isidentifier():
        hint = f" Add a name in the file: {place}:NAME." if Path(place).is_file() else ""
        raise LoadError(f"{function}: MODEL must be FILE.py:FACTORY or package.module:FACTORY; got {place!r}.{hint}")
    module = module_from_file(file, function) if file.endswith(".py") else _from_package(file, function)
    made = getattr(module, name, None)
    if not isinstance(made, nn.Module):
        made = _called(_factory(module, file, name, function), name, function)
    if not isinstance(made, nn.Module):
        raise LoadError(f"{function}: {name} must return a torch.nn.Module; got {type(made).__name__}. Return the model.")
    return made


def _from_package(name: str, function: str) -> ModuleType:
    _search_in(os.getcwd())
    with users_code(function, f"For the traceback, import {name} in Python."):
        try:
            return importlib.import_module(name)
        except (ModuleNotFoundError, TypeError) as error:  # TypeError: a relative name
            itself = isinstance(error, TypeError) or f"{name}.".startswith(f"{error.name}.")
            if not itself:
                raise
    raise LoadError(f"{function}: {name!r} is neither in this folder nor installed. Give FILE.py:FACTORY.")


def module_from_file(file: str, function: str) -> ModuleType:
    """Imports a file as a module.

    Raises:
        LoadError: the file does not exist, or its code raises an error.
    """
    path = Path(file)
    if not path.is_file():
        near = get_close_matches(path.name, [other.name for other in path.parent.glob("*.py")], n=1)
        hint = f" Did you mean {path.with_name(near[0])}?" if near else ""
        raise LoadError(f"{function}: there is no file {file!r}.{hint}")
    name = path.stem if path.stem not in sys.modules else f"_{path.stem}"  # a file named random.py must not hide the library
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _search_in(str(path.parent.resolve()))
    sys.modules[name] = module
    with users_code(function, f"For the traceback, run python {file}."):
        spec.loader.exec_module(module)
    return module


def _search_in(folder: str) -> None:
    """Imports from a folder, in this process and its workers, before installed packages and after the standard library.

    Python looks in the folder of a script first; here a worker process would then import the user's random.py for its own.
    """
    if folder not in sys.path:
        installed = [sys.path.index(path) for path in (PATHS["purelib"], PATHS["platlib"]) if path in sys.path]
        sys.path.insert(min(installed, default=len(sys.path)), folder)


def _factory(module: ModuleType, file: str, name: str, function: str) -> Callable[[], Any]:
    """Returns the function or class of a name, which must exist and take no arguments."""
    if not hasattr(module, name):
        raise LoadError(f"{function}: {file} has no {name!r}. {_suggestion(module, name)}")
    factory = getattr(module, name)
    if not callable(factory):
        raise LoadError(
            f"{function}: {name} must be a function, a class or a torch.nn.Module; got {type(factory).__name__}. "
            f"{_suggestion(module, name)}"
        )
    try:
        inspect.signature(factory).bind()
    except TypeError:
        wanted = ", ".join(str(parameter) for parameter in _required(factory))
        raise LoadError(
            f"{function}: a factory must take no arguments; {name} takes {wanted}. "
            f"Write a function that returns {name}(...) and give its name."
        ) from None
    except ValueError:  # a callable without a signature: the call tells
        pass
    return factory


def _required(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(factory).parameters.values()
    optional = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return [each for each in parameters if each.default is each.empty and each.kind not in optional]


def _called(factory: Callable[[], Any], name: str, function: str) -> Any:
    with users_code(function, f"For the traceback, call {name}() in Python."):
        return factory()


def _suggestion(module: ModuleType, name: str) -> str:
    """Returns the names that were probably meant: those of models, and of functions and classes that the module defines."""
    names = [
        other
        for other, value in vars(module).items()
        if not other.startswith("_")
        and (isinstance(value, nn.Module) or (callable(value) and getattr(value, "__module__", "") == module.__name__))
    ]
    near = get_close_matches(name, names, n=3)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    if not names:
        return "It defines no function, class or model. Write a function that returns the model."
    return f"It defines {', '.join(names[:LISTED])}{' and others' if len(names) > LISTED else ''}."


@contextmanager
def users_code(function: str, advice: str) -> Iterator[None]:
    """Turns an error of the user's code into a `LoadError`: what it is, and the file and line where it happens.

    Args:
        function: the command; the message starts with it.
        advice: how to see the whole traceback; the message ends with it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        where = place_of(error) or "the model"
        rule = f"{where} imports {error.name!r}, which cannot be found"
        raise LoadError(f"{function}: {rule}. Install it in the environment of {sys.executable}.") from None
    except SyntaxError as error:
        where = f"{_relative(error.filename)}:{error.lineno}" if error.filename else "the file"
        raise LoadError(f"{function}: {where} is not valid Python: {error.msg}. {advice}") from None
    except SystemExit as error:
        where = place_of(error) or "the model"
        rule = f"{where} ends the program"
        raise LoadError(f"{function}: {rule}. Put what a script does under `if __name__ == '__main__':`.") from None
    except Exception as error:
        relative = isinstance(error, ImportError) and "relative import" in str(error)
        advice = "Give package.module:FACTORY instead of a file." if relative else advice
        raise LoadError(f"{function}: {described(error)}. {advice}") from None


def described(error: BaseException) -> str:
    """Returns an error as `file:line raises TypeError: message`, on one line."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{place_of(error) or 'the model'} raises {type(error).__name__}: {lines[0].rstrip('.')}"


def place_of(error: BaseException) -> str:
    """Returns the file and line of the user's code that an error comes from; "" if only libraries are involved."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(NOT_THE_USERS)]
    return f"{_relative(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


def _relative(file: str) -> str:
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative


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
        raise LoadError(f"{function}: --input must be {SHAPES}; got {text!r}.")
    shape = [int(size) for size in (found["shape"] or "").split("x") if size]
    try:
        if dtype.is_floating_point:
            return torch.randn(shape).to(dtype)
        return torch.randint(0, int(found["top"] or 2), shape).to(dtype)
    except (RuntimeError, ValueError) as error:  # no integers below 0, or a shape that does not fit into memory
        raise LoadError(f"{function}: --input must be {SHAPES}; got {text!r}: {str(error).splitlines()[0]}.") from None
