"""The rates of a model: sites, dropout modules of PyTorch, and modules that hold a rate as a number."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from thinnet.methods.weights.wrapped import Wrapped
from thinnet.models import declared
from thinnet.models.rewrite.edits import Change, Entry, Held, Rate, Write
from thinnet.rng import Site


@dataclass(frozen=True)
class Owner:
    """A module that holds a rate.

    Args:
        name: the path of a site or a dropout module; in another module the path and the attribute.
        path: of the module.
        module: the module.
        attribute: the attribute that holds the rate.
        p: the rate.
        holder: the object that has the attribute: the module, or a configuration that modules share.
    """

    name: str
    path: str
    module: nn.Module
    attribute: str
    p: float
    holder: Any

    @property
    def idle(self) -> bool:
        """Whether the rate has no effect, as in a recurrent module of one layer."""
        return isinstance(self.module, nn.RNNBase) and self.module.num_layers == 1

    def write(self, p: float) -> Write:
        """Returns the write that sets the rate."""
        if self.holder is not self.module:
            return Write(Held(self.module, self.holder, self.attribute), p)
        slot = Rate(self.module) if isinstance(self.module, Site) else Entry(self.module, "__dict__", self.attribute)
        return Write(slot, p)


def owners(model: nn.Module) -> list[Owner]:
    """Returns every owner of a rate, under each of its names: a shared module has several."""
    return [owner for path, module in model.named_modules(remove_duplicate=False) for owner in _of(path, module)]


def is_dropout(module: nn.Module) -> bool:
    """Returns whether a module is dropout and nothing else.

    >>> is_dropout(nn.Dropout(0.1)), is_dropout(nn.LSTM(2, 2, dropout=0.0))
    (True, False)
    """
    named = any(part in type(module).__name__.lower() for part in declared.NAMED)
    return not isinstance(module, Wrapped) and (isinstance(module, (Site, _DropoutNd)) or named)


def _of(path: str, module: nn.Module) -> Iterator[Owner]:
    if isinstance(module, (Site, _DropoutNd)):
        if module.p is not None:
            yield Owner(path, path, module, "p", module.p, module)
        return
    named = is_dropout(module)
    for attribute, value in vars(module).items():
        if (attribute in declared.OWN and named) or "drop" in attribute.lower():
            number = isinstance(value, float) or (type(value) is int and (named or attribute in declared.RATES))
            if number and 0 <= value <= 1:
                name = path if named and attribute in (*declared.OWN, *declared.RATES) else f"{path}.{attribute}".lstrip(".")
                yield Owner(name, path, module, attribute, value, module)


def rate_change(owner: Owner, p: float, reason: str = "") -> Change:
    """Returns the change that sets a rate."""
    return Change("~", owner.name, f"{owner.p} -> {p}", [owner.write(p)], reason)
