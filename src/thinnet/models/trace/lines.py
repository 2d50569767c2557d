"""The lines of the model's own code that lead to an operation."""

import inspect
import sys
import sysconfig
from pathlib import Path
from types import CodeType, FrameType

import torch

OURS = str(Path(__file__).parents[2])
THEIRS = str(Path(torch.__file__).parent)
FOREIGN = (OURS + "/", THEIRS + "/", "<frozen ", "<__array_function__", "<decorator-gen")
PYTHON = sysconfig.get_path("stdlib") + "/"
PASSES_ON = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


def calling_lines(outermost: FrameType) -> tuple[str, ...]:
    """Returns `file:line` of the frames below `outermost`, innermost first, each line once.

    The frames of PyTorch and thinnet do not count, nor do those of decorators and other wrappers that pass a call on: they are
    no calls of the model, and another mode may take another line of them. Each line counts once, so recursion is a loop.
    """
    lines: dict[str, None] = {}
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not outermost:
        code = frame.f_code
        if not code.co_filename.startswith(FOREIGN) and not (lines and _passes_on(code)):
            lines[f"{code.co_filename}:{frame.f_lineno}"] = None
        frame = frame.f_back
    return tuple(lines)


def called_by_model() -> bool:
    """Returns whether the caller of the function that asks is code of a model: not PyTorch, thinnet, Python or an import."""
    frame: FrameType | None = sys._getframe(2)
    file = frame.f_code.co_filename
    if file.startswith(FOREIGN) or (file.startswith(PYTHON) and "-packages" not in file):
        return False
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is None


def _passes_on(code: CodeType) -> bool:
    """Returns whether a function is a wrapper: it takes any arguments, and is made in another function or calls a module."""
    anything = code.co_flags & PASSES_ON == PASSES_ON
    return anything and (bool(code.co_flags & inspect.CO_NESTED) or code.co_name == "__call__")
