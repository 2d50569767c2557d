"""A problem in a file of the user: `model()`, `data()`, and optionally a loss, a metric, an optimiser and settings."""

import ast
import hashlib
import inspect
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.models.edit.insert import insert
from thinnet.models.edit.rates import owners
from thinnet.models.edit.replace import replace
from thinnet.models.loading import module_from_file, users_code
from thinnet.study.design.plan import COMMAND, StudyError
from thinnet.study.design.problems import network_file

FUNCTIONS, NUMBERS = ("model", "data", "loss", "metric", "optimizer"), ("epochs", "batch", "learning_rate")
REQUIRED = ("model", "data")
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
DYNAMIC = {"*", "globals", "locals", "vars", "exec", "setattr"}
"""With these, the text of a module does not tell what it defines."""


@dataclass(frozen=True)
class UserFile:
    """A file that defines a problem; every process imports it for itself.

    Args:
        path: the file.
        digest: the SHA-256 of its text, and of the weights that it starts from, as part of the identity of a study.
        arguments: of `model()`, which takes none in a file of the user.
    """

    path: Path
    digest: str
    arguments: tuple[int | str, ...] = ()

    @property
    def module(self) -> ModuleType:
        """The imported file."""
        return _imported(self.path, self.digest)

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Calls a function of the file; an error in it is reported with its line."""
        with users_code(COMMAND, f"For the traceback, call {name}() in Python."):
            return getattr(self.module, name)(*arguments, **named)

    def original(self, **named: float) -> Any:
        """Returns what `model()` returns."""
        return self.call("model", *self.arguments, **named)

    def network(self, width: float = 1.0) -> nn.Module:
        """Builds the model, with the dropout that it has, or where `thinnet.insert` advises dropout.

        PyTorch's dropout becomes thinnet's, so that all configurations of a seed share their random bits. Of several outputs,
        `logits` or the first is scored.

        Args:
            width: the share of the width of hidden layers, for a `model(width)`.

        Raises:
            StudyError: the model cannot be edited, or model() takes no width.
        """
        model = self.original(**({} if width == 1.0 else {"width": width}))
        if not isinstance(model, nn.Module):
            advice = "Return the model, a torch.nn.Module."
            raise StudyError(str(self.path), "model() must return a torch.nn.Module", type(model).__name__, advice)
        try:
            replace(model)
            if not any(not owner.idle for owner in owners(model)):
                insert(model)
        except (ValueError, TypeError) as error:
            advice = "Put a thinnet.nn.Dropout where it should be studied."
            raise StudyError(str(self.path), "dropout must fit into the model", str(error), advice) from None
        model.register_forward_hook(lambda module, inputs, output: scored(output))
        return model

    @property
    def is_built_in(self) -> bool:
        """Whether this is the file of a built-in network."""
        return self.path == network_file(self.path.stem)

    @property
    def places(self) -> str:
        """The patterns of the sites that `all` means, joined by `+`: those of the file, or every site."""
        return getattr(self.module, "places", "*")

    @property
    def takes_width(self) -> bool:
        """Whether `model(width=0.5)` can be called."""
        return "width" in inspect.signature(self.module.model).parameters

    def optimizer(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, decay: float | None = None
    ) -> torch.optim.Optimizer:
        """Returns the optimiser of the file, or Adam; with a weight decay in all its groups, AdamW instead of Adam."""
        if not hasattr(self.module, "optimizer"):
            kind = torch.optim.Adam if decay is None else torch.optim.AdamW
            return kind(parameters, lr=learning_rate, weight_decay=decay or 0.0)
        optimizer = self.call("optimizer", list(parameters))
        if decay is not None:
            for group in optimizer.param_groups:
                group["weight_decay"] = decay
        return optimizer


def scored(output: Any) -> Tensor:
    """Returns the tensor of an output that the loss takes: itself, its `logits`, or the first element."""
    while not isinstance(output, Tensor):
        logits = getattr(output, "logits", None)
        output = next(iter(output.values() if isinstance(output, dict) else output)) if logits is None else logits
    return output


def open_file(path: Path) -> UserFile:
    """Imports the file of a user, and checks what it defines.

    Raises:
        LoadError: the file does not exist, or its code raises an error.
        StudyError: a name is missing or has the wrong type.
    """
    file, bound = UserFile(path, _digest(path)), _bound(path)
    absent = [name for name in REQUIRED if bound is not None and name not in bound]  # a script is refused before it trains
    if absent := absent or [name for name in REQUIRED if not hasattr(file.module, name)]:
        advice = "Define model(), which returns the model, and data(), which returns inputs and targets."
        raise StudyError(str(path), f"the file must define {absent[0]}()", "a file without it", advice)
    for name in FUNCTIONS:
        if hasattr(file.module, name) and not callable(getattr(file.module, name)):
            raise StudyError(str(path), f"{name} must be a function", repr(getattr(file.module, name)), f"Write def {name}.")
    for name in REQUIRED:
        signature = inspect.signature(getattr(file.module, name))
        if any(each.default is each.empty and each.kind not in VARIADIC for each in signature.parameters.values()):
            rule, advice = f"{name}() must need no arguments", "Give each of them a default."
            raise StudyError(str(path), rule, f"{name}{signature}", advice)
    return file


def _bound(path: Path) -> set[str] | None:
    """Returns the names that the text of a module binds outside of functions and classes; None where that is not known."""
    with suppress(OSError, ValueError, SyntaxError):  # the import reports them
        found, waiting = set(), list(ast.iter_child_nodes(ast.parse(path.read_bytes())))
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
                continue
            if isinstance(node, ast.alias):
                found.add((node.asname or node.name).split(".")[0])
            elif isinstance(node, ast.Name):
                found.add(node.id)
            waiting.extend(ast.iter_child_nodes(node))
        return None if found & DYNAMIC else found
    return None


def built_in(network: str, arguments: tuple[int | str, ...] = (), weights: str = "") -> UserFile:
    """Returns a built-in network.

    Args:
        network: the name of its file.
        arguments: of its `model()`.
        weights: the digest of the weights that it starts from.
    """
    path = network_file(network)
    return UserFile(path, _digest(path, weights), arguments)


def _digest(path: Path, weights: str = "") -> str:
    return hashlib.sha256((path.read_bytes() if path.is_file() else b"") + weights.encode()).hexdigest()


@lru_cache
def _imported(path: Path, digest: str) -> ModuleType:
    """Imports one text once in a process."""
    return module_from_file(str(path), COMMAND)


def settings_of(file: UserFile) -> dict[str, Any]:
    """Returns the settings of the plan that the file defines: `epochs`, `batch`, `learning_rate` and `rates`."""
    found = {name: getattr(file.module, name) for name in NUMBERS if hasattr(file.module, name)}
    if hasattr(file.module, "rates"):
        found["rates"] = tuple(file.module.rates)
    for name, value in ((name, found[name]) for name in NUMBERS if name in found):
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise StudyError(str(file.path), f"{name} must be a number", repr(value), f"Write {name} = 20.")
    return found
