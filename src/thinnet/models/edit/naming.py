"""Names of modules: where each is held, which patterns match them, and how a line of a diff shows one."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch
from torch import nn

from thinnet.rng import Site
from thinnet.rng.names import unwrap

Place = tuple[nn.Module, str, str]  # the module that holds it, under which name, and its path


def checked(function: str, model: nn.Module) -> nn.Module:
    """Returns the model itself, out of `torch.compile` and data parallelism, or says that it has to be a module."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"{function}: model must be a torch.nn.Module; got {type(model).__name__}. Call its factory first.")
    return unwrap(model)


def check_unbound(function: str, model: nn.Module) -> None:
    """Says that sites which are put in would have no name among those that are bound."""
    bound = [name for name, module in model.named_modules() if isinstance(module, Site) and module.context is not None]
    if bound:
        rule = f"{function}: coins must not be bound yet, as new sites would have no name"
        raise ValueError(f"{rule}; {bound[0]!r} is. Call rng.unbind(), edit, and bind again.")


def places(model: nn.Module) -> dict[nn.Module, list[Place]]:
    """Returns each module below the model with every place that holds it; a shared module has several."""
    found: dict[nn.Module, list[Place]] = {}
    for path, parent in model.named_modules():
        for name, child in parent._modules.items():
            if child is not None:
                found.setdefault(child, []).append((parent, name, f"{path}.{name}".lstrip(".")))
    return found


def also(held: list[Place]) -> str:
    """Returns the other paths of a shared module, in words."""
    return f", also at {', '.join(path for *_, path in held[1:])}" if len(held) > 1 else ""


def matches(name: str, pattern: str) -> bool:
    """Returns whether a pattern, by `fnmatch`, matches a name.

    >>> matches("encoder.3.drop", "encoder.*"), matches("head", "encoder.*")
    (True, False)
    """
    return name == pattern or fnmatchcase(name, pattern)


def refuse_unmatched(function: str, pattern: str, names: Iterable[str], what: str) -> None:
    """Says that a pattern matches nothing, and what there is."""
    there = ", ".join(sorted(set(names) - {""})) or "none"
    raise ValueError(f"{function}: pattern {pattern!r} must match {what}; there are: {there}.")


def shown(module: nn.Module) -> str:
    """Returns a module as a line of a diff shows it.

    >>> shown(nn.Dropout(0.1)), shown(nn.ReLU())
    ('torch.nn.Dropout(p=0.1, inplace=False)', 'torch.nn.ReLU()')
    """
    kind = type(module)
    library = {"torch": "torch.nn.", "thinnet": "thinnet.nn."}.get(kind.__module__.split(".")[0], "")
    return f"{library}{kind.__name__}({module.extra_repr()})"


def device_near(model: nn.Module, path: str) -> torch.device | None:
    """Returns the device of the nearest parameter or buffer around a path; None where there is none that has values."""
    while True:
        around = model.get_submodule(path)
        for tensor in (*around.parameters(), *around.buffers()):
            return None if tensor.is_meta else tensor.device
        if not path:
            return None
        path = path.rpartition(".")[0]
