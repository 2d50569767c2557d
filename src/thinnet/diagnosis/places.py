"""Selects the hidden activations to read: those at dropout sites, of named layers, or of activation modules."""

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.diagnosis.tap import CALLED, Place
from thinnet.models.found import FoundSite, Sites
from thinnet.models.trace import trace
from thinnet.models.trace.modules import Values

KINDS = ("dropout", "multiplicative noise", "silent")
CHANNELS_FIRST = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.GroupNorm, nn.InstanceNorm1d)
FEATURES_LAST = (nn.Linear, nn.LayerNorm, nn.RNNBase, nn.Embedding, nn.MultiheadAttention)
MAPS = ("Softmax", "LogSoftmax", "Softmin", "MultiheadAttention")


def find(
    model: nn.Module, run: Any, seen: Sites, patterns: Iterable[str] | None, axis: int | None
) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """Returns the places of a model in eval, in the order in which they run, and notes on those left out.

    With `patterns` (names of layers, by `fnmatch`) the sites do not matter. Unless `axis` is given, axis 1 counts the units;
    for `(B, T, D)` activations it is the last axis, unless a convolution or its normalisation ran last.

    Raises:
        ValueError: nothing is found.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    if patterns is not None:
        return _met(model, run, _named(modules, patterns), axis)
    sited = [site for site in seen if site.kind in KINDS and site.target == "activations"]
    found, notes = _met(model, run, _at_sites(modules, sited), axis)
    if found:
        skipped = [f"{site.name or 'the model'}: {site.kind} on {site.target} is no hidden layer" for site in _others(seen)]
        return found, (*notes, *dict.fromkeys(skipped))
    active = [name for name, module in modules.items() if _activates(module)]
    found, more = _met(model, run, [Place(name, "out", f"behind {type(modules[name]).__name__}") for name in active], axis)
    if not found:
        raise ValueError(
            "diagnose: the model must have dropout or activation modules, which mark its hidden layers; none ran."
            f" Name them: layers='{next(iter(modules), 'encoder.*')}'."
        )
    return found, (*notes, *more, "no dropout at hidden units: the outputs of activation modules are read")


def _named(modules: dict[str, nn.Module], patterns: Iterable[str]) -> list[Place]:
    found = []
    for pattern in patterns:
        names = [name for name in modules if fnmatchcase(name, pattern)]
        if not names:
            some = ", ".join(list(modules)[:8])
            raise ValueError(f"diagnose: layers must match names of modules; {pattern!r} matches none of {some}, ....")
        found += [Place(name, "out", f"behind {type(modules[name]).__name__}") for name in names]
    return list(dict.fromkeys(found))


def _at_sites(modules: dict[str, nn.Module], sites: list[FoundSite]) -> list[Place]:
    """Returns all candidates for a site: in front of its module, behind it, and at its calls of a function."""
    found = []
    for site in sites:
        rate = "" if site.p is None else f", p = {site.p:.3g}"
        found += [Place(site.name, "call", f"in front of a call of dropout{rate}", number) for number in range(64)]
        if site.name in modules:
            kind = type(modules[site.name]).__name__
            found.append(Place(site.name, "in", f"in front of {kind}{rate}"))
            found.append(Place(site.name, "out", f"behind {kind}{rate}"))
    return list({(place.name, place.side, place.number): place for place in found}.values())


def _others(seen: Sites) -> list[FoundSite]:
    return [site for site in seen if site.on_in_train and (site.kind not in KINDS or site.target != "activations")]


def _activates(module: nn.Module) -> bool:
    return type(module).__module__ == "torch.nn.modules.activation" and type(module).__name__ not in MAPS


def _met(model: nn.Module, run: Any, wanted: list[Place], axis: int | None) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """Runs the model, and returns the wanted places that it reached, with their axes and widths."""
    met: dict[Place, Tensor] = {}
    axes: dict[Place, int | None] = {}
    channels_first = False
    layouts = {name: module for name, module in model.named_modules() if isinstance(module, (*CHANNELS_FIRST, *FEATURES_LAST))}
    places = {(place.name, place.side, place.number): place for place in wanted}

    def meet(name: str, side: str, number: int, x: Tensor) -> None:
        nonlocal channels_first
        if side == "out" and name in layouts:
            channels_first = isinstance(layouts[name], CHANNELS_FIRST)
        place = places.get((name, side, number))
        if place is not None:
            met[place], axes[place] = x.detach().clone(), axis if axis is not None else _axis(x, channels_first)

    at = {(name, side) for name, side, _ in places} | {(name, "out") for name in layouts}
    with torch.no_grad():
        trace(model, lambda: run(model), values=Values(at, meet, CALLED))
    return _chosen(met, axes)


def _chosen(met: dict[Place, Tensor], axes: dict[Place, int | None]) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """Returns one side of each module; of places with equal activations it prefers the one in front of dropout."""
    found: dict[Place, Place] = {}
    notes = []
    for place in sorted(_one_side(met), key=lambda place: place.side == "out"):
        x, axis, name = met[place], axes[place], place.name or "the model"
        twin = next((other for other in found if _same(met[other], x)), None)
        if twin is not None:
            notes.append(f"{name}: the same activations as {twin.words}, {twin.name or 'the model'}")
        elif axis is None or not x.is_floating_point() or not -x.ndim <= axis < x.ndim:
            notes.append(f"{name}: activations of shape {tuple(x.shape)} and {x.dtype} have no units")
        else:
            found[place] = replace(place, axis=axis % x.ndim, width=x.shape[axis])
    return tuple(found[place] for place in met if place in found), tuple(notes)


def _one_side(met: dict[Place, Tensor]) -> list[Place]:
    """Selects "in" for a module that returns its input; else "call" if there is one; else "out"."""
    sides: dict[str, dict[str, Tensor]] = {}
    for place, x in met.items():
        sides.setdefault(place.name, {})[place.side] = x
    best = {}
    for name, here in sides.items():
        passes_on = "in" in here and "out" in here and _same(here["in"], here["out"])
        best[name] = "in" if passes_on else "call" if "call" in here else "out"
    return [place for place in met if place.side == best[place.name]]


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _axis(x: Tensor, channels_first: bool) -> int | None:
    if x.ndim < 2:
        return None
    return -1 if x.ndim == 3 and not channels_first else 1
