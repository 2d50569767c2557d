"""Rates that a model declares, and that no pass drew with."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from thinnet.models import declared
from thinnet.models.found import FoundSite

NOTHING: dict[str, Any] = dict(line=None, measured=None, interval=None, scale=None, on_in_train=False, on_in_eval=False)
NOTHING |= dict(turned_off_by="unknown", draws=0.0, reached=0.0, time=0.0, memory=0.0, shared_axes=None, axes=0)
ROUNDED = 2**-16  # sites of thinnet count their rate in units of this
LAYERS = (
    "add",
    "mm",
    "linear",
    "convolution",
    "embedding",
    "layer_norm",
    "gelu",
    "relu",
    "silu",
)  # these make no attention weights


def declared_only(model: nn.Module, found: Sequence[FoundSite], visited: set[str]) -> list[FoundSite]:
    """Returns the modules that declare a rate and drew nothing in any pass, and rates of attention that nothing drew with.

    Args:
        model: the model.
        found: the sites that drew.
        visited: the paths of the modules that ran in training; evaluation runs layers too that training drops.
    """
    seen = {site.name for site in found}
    silent = []
    for name, module in model.named_modules():
        p = declared.rate(module)
        drew = name in seen or any(other.startswith(f"{name}.") for other in seen) or name == ""
        if p is None or drew:
            continue
        kind = "silent" if name in visited else "not reached"
        note = "its rate is 0" if p == 0 else "it ran and drew nothing" if name in visited else "no training pass reached it"
        silent.append(FoundSite(name=name, kind=kind, op=type(module).__name__, p=p, note=note, **NOTHING))
    listed = {(site.name, site.p) for site in silent} | {("", site.p) for site in silent}
    return [*silent, *(site for site in _not_applied(model, found, visited) if (site.name, site.p) not in listed)]


def _not_applied(model: nn.Module, found: Sequence[FoundSite], visited: set[str]) -> Iterator[FoundSite]:
    """Yields the rates of attention weights in attributes of modules, or in the configuration, that no attention drew with."""
    ran = {name: module for name, module in model.named_modules() if name in visited}
    holders = [(name, "", module) for name, module in ran.items()]
    holders += [("", "config.", model.config)] if hasattr(model, "config") and "" in visited else []
    for name, prefix, holder in holders:
        rates = declared.attention_rates(holder)
        near = [site for site in found if not name or site.name == name or site.name.startswith(f"{name}.")]
        for attribute, p in rates.items():
            if prefix and not _attends(attribute, ran):
                continue
            if not any(site.p is not None and abs(site.p - p) < ROUNDED and _on_attention(site) for site in near):
                note = f"{prefix}{attribute} is {p:g}, and no attention drew with it"
                yield FoundSite(name=name, kind="not applied", op=type(holder).__name__, p=p, note=note, **NOTHING)


def _attends(rate: str, ran: Mapping[str, nn.Module]) -> bool:
    """Returns whether a module of attention ran, of the kind that the name of a rate says: `lsh_attention_dropout`."""
    kind = rate.lower().partition("att")[0].strip("_")
    names = (f"{name}.{type(module).__name__}".lower() for name, module in ran.items())
    return any("att" in name and kind in name for name in names)


def _on_attention(site: FoundSite) -> bool:
    """Returns whether a site may drop attention weights: those of a kernel, or of anything but the output of a layer."""
    return "attention" in site.op or "att" in site.name.rpartition(".")[2].lower() or not any(op in site.after for op in LAYERS)
