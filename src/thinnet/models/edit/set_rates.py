"""Sets the rates of a model."""

from collections.abc import Mapping

from torch import nn

from thinnet.models.edit.checks import check_model, matches, refuse_unmatched
from thinnet.models.edit.decisions import configured
from thinnet.models.edit.rates import Owner, owners, rate_change
from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Edit
from thinnet.rng import Site, rates


def set_rates(model: nn.Module, p: float | Mapping[str, float]) -> Edit:
    """Sets the dropout rates of a model: of sites, of PyTorch's dropout modules, and of numbers that modules hold.

    The name of a number is the path of the module and the attribute: "encoder.attn.dropout" for `nn.MultiheadAttention`. A rate
    that modules read from a configuration in their forward pass has its name there: "config.hidden_dropout". A rate that is a
    constant in a forward method is out of reach, unless `replace(model, functional=True)` comes first. A schedule
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
    there = [*owners(model), *configured(model)]
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
                wanted[id(owner.holder), owner.attribute] = owner, _checked(owner, rate)
    return apply_changes(model, [rate_change(owner, rate) for owner, rate in wanted.values() if owner.p != rate], notes)


def _checked(owner: Owner, p: float) -> float:
    below_one = isinstance(owner.module, Site) and owner.module.below_one
    return rates.check(f"set_rates: {owner.name}", p, below_one=below_one)
