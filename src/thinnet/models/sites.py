"""Every place of a model that tosses coins, found by watching it run in train and in eval, and not by the names of classes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from thinnet.models import declared
from thinnet.models.found import FoundSite, Sites, grain, interval
from thinnet.models.state import preserve_state
from thinnet.models.trace.draws import Drawn
from thinnet.models.trace.passes import Key, effects, keys, watched
from thinnet.models.trace.uses import kind_of
from thinnet.models.trace.watch import Watch
from thinnet.rng.names import unwrap


def sites(
    model: nn.Module,
    *example: Any,
    passes: int = 8,
    seed: int = 0,
    run: Callable[[nn.Module], Any] | None = None,
    **named: Any,
) -> Sites:
    """Returns every place of a model that tosses coins, with what it does and how much it drops.

    The model runs `passes` times in training mode and twice in evaluation mode under a watch of all operations. Afterwards
    it is as it was: parameters, buffers, modes, attributes, and the states of all generators.

    Args:
        model: any module.
        example: what it is called with; without an example only what modules declare is listed.
        passes: how often it runs in training mode; a place that few passes reach needs more.
        seed: of the passes.
        run: runs the model where a call `model(*example, **named)` is not the way.
        named: keyword arguments of the call.

    Raises:
        TypeError: `model` is no module.
        ValueError: `passes` is no positive integer.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.25), nn.Linear(8, 2))
    >>> (site,) = sites(model, torch.randn(64, 8))
    >>> site.name, site.kind, site.p, site.on_in_eval, site.switch
    ('1', 'dropout', 0.25, False, "its module's mode")
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"sites: model must be a torch.nn.Module; got {type(model).__name__}. Call its factory first.")
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 1:
        raise ValueError(f"sites: passes must be a positive integer; got {passes!r}.")
    call = run or (lambda model: model(*example, **named))
    if not example and not named and run is None:
        found = Sites(_declared_only(model, (), set()))
        found.unseen = ("what is not declared by a module: run the model, sites(model, *example)",)
        return found
    model = unwrap(model)
    inputs = example, named
    with preserve_state(model, seed) as state:
        train = [watched(model, call, training=True, inputs=inputs) for _ in range(passes)]
        state.restore()
        evaluated = [watched(model, call, training=False) for _ in range(2)]
        state.restore()
        switched = watched(model, call, training=True, off={place for watch in train for place, _ in keys(watch)})
        state.restore()
        tried = {key for watch in train for key, event in zip(keys(watch), watch.drawn, strict=True) if event.use != "decides"}
        effect_of = effects(model, call, tried, seed)
    return _merge(model, train, evaluated, switched, effect_of)


def _merge(model: nn.Module, train: list[Watch], evaluated: list[Watch], switched: Watch, effect_of: dict[Key, bool]) -> Sites:
    events: dict[Key, list[Drawn]] = {}
    for watch in (*train, *evaluated):
        for event in watch.drawn:
            events.setdefault((event.name, event.line), []).append(event)
    still_on = {(event.name, event.line) for event in switched.drawn if event.use}
    found = [_site(model, key, held, train, evaluated, key in still_on) for key, held in events.items()]
    found = [replace(site, effect=effect_of.get((site.name, site.line))) for site in found]
    visited = {name for watch in (*train, *evaluated) for name in watch.visited}
    merged = Sites((*found, *_declared_only(model, found, visited)))
    lost = sorted({site.name for site in found if site.on_in_train and site.reached < 1})
    merged.unseen = tuple(f"{name or 'the model'}: some passes did not come by" for name in lost)
    return merged


def _site(
    model: nn.Module, key: Key, events: list[Drawn], train: list[Watch], evaluated: list[Watch], still_on: bool
) -> FoundSite:
    passes = [sum(found == key for found in keys(watch)) for watch in train]
    on_in_eval = any(key == (event.name, event.line) and event.use for watch in evaluated for event in watch.drawn)
    first = max(events, key=lambda event: bool(event.use))
    kinds = {kind_of(event) for event in events}
    kind = kind_of(first) if len(kinds) > 1 else kinds.pop()
    counted = [(event.share, event.units) for event in events if event.share is not None]
    shares, units = [share for share, _ in counted], [count for _, count in counted]
    measured = sum(share * count for share, count in counted) / sum(units) if counted else None
    scales = [scale for event in events if (scale := event.total_scale())]
    module = dict(model.named_modules()).get(key[0])
    switch = "nobody" if on_in_eval else "another mode" if still_on else "its module's mode"
    seconds, made = sum(watch.seconds for watch in train) or 1.0, sum(watch.bytes for watch in train) or 1
    trained = [event for watch in train for event in watch.drawn if key == (event.name, event.line)]
    return FoundSite(
        name=key[0],
        line=key[1],
        kind=kind,
        op=first.op.removeprefix("aten::"),
        grain=grain(first),
        p=declared.rate(module) if first.p is None else round(first.p, 9),  # 1 - 0.8 is not 0.2
        measured=measured,
        interval=interval(shares, units) if counted else None,
        scale=sum(scales) / len(scales) if scales and kind == "dropout" else None,
        on_in_train=any(passes),
        on_in_eval=on_in_eval,
        switch=switch,
        draws=sum(passes) / max(1, sum(map(bool, passes))),
        reached=sum(map(bool, passes)) / len(passes),
        time=sum(event.seconds for event in trained) / seconds,
        memory=sum(event.bytes for event in trained) / made,
        target=first.target,
        after=first.after.removeprefix("aten::"),
        follows=any(event.follows for event in events),
        at_output=any(event.at_output for event in events),
        feeds=max(event.feeds for event in events),
    )


def _declared_only(model: nn.Module, found: Sequence[FoundSite], visited: set[str]) -> list[FoundSite]:
    """Returns the places that modules declare and where no pass drew anything."""
    seen = {site.name for site in found}
    nothing: dict[str, Any] = dict(measured=None, interval=None, scale=None, on_in_train=False, on_in_eval=False)
    nothing |= dict(switch="unknown", draws=0.0, reached=0.0, time=0.0, memory=0.0)
    silent = []
    for name, module in model.named_modules():
        p = declared.rate(module)
        drew = name in seen or any(other.startswith(f"{name}.") for other in seen) or name == ""
        if p is None or drew:
            continue
        kind = "silent" if name in visited else "not reached"
        note = "its rate is 0" if p == 0 else "it ran and drew nothing" if name in visited else "no pass came by"
        op = type(module).__name__
        silent.append(FoundSite(name=name, line=None, kind=kind, op=op, grain="unknown", p=p, note=note, **nothing))
    return silent
