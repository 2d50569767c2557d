"""Rates of a whole model, wherever they are held."""

from collections.abc import Mapping

from torch import nn

from thinnet.models.edit.change import Change, Edit, made
from thinnet.models.edit.naming import checked, matches, refuse_unmatched
from thinnet.models.edit.owners import Owner, owners
from thinnet.rng import Site, rates


def set_rates(model: nn.Module, p: float | Mapping[str, float]) -> Edit:
    """Sets the rates of dropping of a model: those of sites, of PyTorch's modules, and numbers that modules hold.

    A number in a module, such as the `dropout` of `nn.MultiheadAttention` and `nn.LSTM`, or an `attention_dropout`, has the
    path of the module and the attribute for a name: "encoder.attn.dropout". A schedule of bound coins sets its sites again at
    its next step. What a forward method writes as a constant has no owner: see `replace(model, functional=True)`.

    Args:
        model: any module.
        p: the rate for all; or rates by name, or by pattern, `fnmatch` over the names of owners and the paths of modules. Where
            several match, the last one counts.

    Returns: the edit.

    Raises:
        ValueError: a rate is not in its domain, or a pattern matches no owner; nothing is changed then.
        TypeError: `model` is no module.

    >>> model = nn.ModuleDict({"attn": nn.MultiheadAttention(8, 2), "drop": nn.Dropout(0.5)})
    >>> print(set_rates(model, {"attn*": 0.3, "drop": 0.1}))
    ~ attn.dropout: 0.0 -> 0.3
    ~ drop: 0.5 -> 0.1
    """
    model = checked("set_rates", model)
    there = owners(model)
    wanted: dict[tuple[int, str], tuple[Owner, float]] = {}
    notes = []
    for pattern, rate in p.items() if isinstance(p, Mapping) else [("*", p)]:
        rates.check("set_rates", rate)
        found = [owner for owner in there if matches(owner.name, pattern) or matches(owner.path, pattern)]
        if not [owner for owner in found if not owner.idle]:
            refuse_unmatched("set_rates", pattern, (owner.name for owner in there if not owner.idle), "an owner of a rate")
        notes += [f"{owner.name} stays at {owner.p:g}: it has one layer" for owner in found if owner.idle]
        for owner in found:
            if not owner.idle:
                wanted[id(owner.module), owner.attribute] = owner, _checked(owner, rate)
    return made(model, [rate_change(owner, rate) for owner, rate in wanted.values() if owner.p != rate], notes)


def rate_change(owner: Owner, p: float, reason: str = "") -> Change:
    """Returns the change that sets a rate."""
    return Change("~", owner.name, f"{owner.p} -> {p}", [owner.write(p)], reason)


def _checked(owner: Owner, p: float) -> float:
    below_one = isinstance(owner.module, Site) and owner.module.below_one
    return rates.check(f"set_rates: {owner.name}", p, below_one=below_one)
