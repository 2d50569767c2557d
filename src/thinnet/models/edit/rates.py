"""The rates of a model: sites, dropout modules of PyTorch, and modules that hold a rate as a number."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from thinnet.methods.weights.wrapped import Wrapped
from thinnet.models import declared
from thinnet.models.edit.checks import check_model, matches, refuse_unmatched
from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Change, Edit, Entry, Rate, Write
from thinnet.rng import Site, rates


@dataclass(frozen=True)
class Owner:
    """A module that holds a rate.

    Args:
        name: the path of a site or a dropout module; in another module the path and the attribute.
        path: of the module.
        module: the module.
        attribute: the attribute that holds the rate.
        p: the rate.
    """

    name: str
    path: str
    module: nn.Module
    attribute: str
    p: float

    @property
    def idle(self) -> bool:
        """Whether the rate has no effect, as in a recurrent module of one layer."""
        return isinstance(self.module, nn.RNNBase) and self.module.num_layers == 1

    def write(self, p: float) -> Write:
        """Returns the write that sets the rate."""
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
            yield Owner(path, path, module, "p", module.p)
        return
    named = is_dropout(module)
    for attribute, value in vars(module).items():
        if (attribute == "p" and named) or "drop" in attribute.lower():
            number = isinstance(value, float) or (type(value) is int and (named or attribute in declared.RATES))
            if number and 0 <= value <= 1:
                name = path if named and attribute in ("p", *declared.RATES) else f"{path}.{attribute}".lstrip(".")
                yield Owner(name, path, module, attribute, value)


def set_rates(model: nn.Module, p: float | Mapping[str, float]) -> Edit:
    """Sets the dropout rates of a model: of sites, of PyTorch's dropout modules, and of numbers that modules hold.

    The name of a number is the path of the module and the attribute: "encoder.attn.dropout" for `nn.MultiheadAttention`. A rate
    that is a constant in a forward method is out of reach, unless `replace(model, functional=True)` comes first. A schedule
    sets the rate of its sites again at the next step.

    Args:
        model: any module.
        p: one rate for all; or rates by name or `fnmatch` pattern, over the names of rates and the paths of modules. The last
            match counts.

    Returns: the edit.

    Raises:
        ValueError: a rate is outside its domain, or a pattern matches no rate. The model is unchanged then.
        TypeError: `model` is no module.

    >>> model = nn.ModuleDict({"attn": nn.MultiheadAttention(8, 2), "drop": nn.Dropout(0.5)})
    >>> print(set_rates(model, {"attn*": 0.3, "drop": 0.1}))
    ~ attn.dropout: 0.0 -> 0.3
    ~ drop: 0.5 -> 0.1
    """
    model = check_model("set_rates", model)
    there = owners(model)
    wanted: dict[tuple[int, str], tuple[Owner, float]] = {}
    notes = []
    for pattern, rate in p.items() if isinstance(p, Mapping) else [("*", p)]:
        rates.check("set_rates", rate)
        found = [owner for owner in there if matches(owner.name, pattern) or matches(owner.path, pattern)]
        if not [owner for owner in found if not owner.idle]:
            refuse_unmatched("set_rates", pattern, (owner.name for owner in there if not owner.idle), "a rate")
        notes += [f"{owner.name} stays at {owner.p:g}: it has one layer" for owner in found if owner.idle]
        for owner in found:
            if not owner.idle:
                wanted[id(owner.module), owner.attribute] = owner, _checked(owner, rate)
    return apply_changes(model, [rate_change(owner, rate) for owner, rate in wanted.values() if owner.p != rate], notes)


def rate_change(owner: Owner, p: float, reason: str = "") -> Change:
    """Returns the change that sets a rate."""
    return Change("~", owner.name, f"{owner.p} -> {p}", [owner.write(p)], reason)


def _checked(owner: Owner, p: float) -> float:
    below_one = isinstance(owner.module, Site) and owner.module.below_one
    return rates.check(f"set_rates: {owner.name}", p, below_one=below_one)
