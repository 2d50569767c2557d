"""Finds every dropout site of a model by tracing it in training and in evaluation, and not by the names of classes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from thinnet.models import declared
from thinnet.models.found import FoundSite, Sites, interval
from thinnet.models.passes import effects, traced
from thinnet.models.state import preserve_state
from thinnet.models.trace import Trace
from thinnet.models.trace.draws import Draw
from thinnet.models.trace.operations import SiteId
from thinnet.rng.names import unwrap


def sites(
    model: nn.Module,
    *example: Any,
    passes: int = 8,
    seed: int = 0,
    run: Callable[[nn.Module], Any] | None = None,
    **named: Any,
) -> Sites:
    """Returns every dropout site of a model: what it does, how much it drops, and what turns it off.

    The model runs `passes` times in training mode, twice in evaluation mode, and once more for each site. Afterwards
    parameters, buffers, gradients, modes, attributes and random generators are as before.

    Args:
        model: any module.
        example: what the model is called with. Without an example only the rates that modules declare are listed.
        passes: how often it runs in training mode; a site that few passes reach needs more.
        seed: seed of the passes.
        run: runs the model, where `model(*example, **named)` does not.
        named: keyword arguments of the call.

    Raises:
        TypeError: `model` is no module.
        ValueError: `passes` is no positive integer.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.25), nn.Linear(8, 2))
    >>> (site,) = sites(model, torch.randn(64, 8))
    >>> site.name, site.kind, site.p, site.on_in_eval, site.turned_off_by
    ('1', 'dropout', 0.25, False, 'module mode')
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"sites: model must be a torch.nn.Module; got {type(model).__name__}. Call its factory first.")
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 1:
        raise ValueError(f"sites: passes must be a positive integer; got {passes!r}.")
    call = run or (lambda model: model(*example, **named))
    if not example and not named and run is None:
        found = Sites(_declared_only(model, (), set()))
        found.unseen = ("sites that no module declares: run the model, sites(model, *example)",)
        return found
    model = unwrap(model)
    inputs = example, named
    with preserve_state(model, seed) as state:
        train = [traced(model, call, training=True, inputs=inputs) for _ in range(passes)]
        state.restore()
        evaluated = [traced(model, call, training=False) for _ in range(2)]
        state.restore()
        switched = traced(model, call, training=True, off={draw.name for record in train for draw in record.draws})
        state.restore()
        tried = {draw.site for record in train for draw in record.draws if draw.use != "decides"}
        effect_of = effects(model, call, tried, seed)
    return _merge(model, train, evaluated, switched, effect_of)


def _merge(
    model: nn.Module, train: list[Trace], evaluated: list[Trace], switched: Trace, effect_of: dict[SiteId, bool]
) -> Sites:
    draws: dict[SiteId, list[Draw]] = {}
    for record in (*train, *evaluated):
        for draw in record.draws:
            draws.setdefault(draw.site, []).append(draw)
    still_on = {draw.site for draw in switched.draws if draw.use}
    found = [_site(model, held, train, evaluated, site in still_on) for site, held in draws.items()]
    found = [replace(site, effect=effect_of.get((site.name, site.line))) for site in found]
    visited = {name for record in (*train, *evaluated) for name in record.visited}
    merged = Sites((*found, *_declared_only(model, found, visited)))
    lost = sorted({site.name for site in found if site.on_in_train and site.reached < 1})
    merged.unseen = tuple(f"{name or 'the model'}: some passes did not reach it" for name in lost)
    return merged


def _site(model: nn.Module, draws: list[Draw], train: list[Trace], evaluated: list[Trace], still_on: bool) -> FoundSite:
    first = max(draws, key=lambda draw: bool(draw.use))
    kinds = {draw.kind for draw in draws}
    kind = first.kind if len(kinds) > 1 else kinds.pop()
    passes = [sum(draw.site == first.site for draw in record.draws) for record in train]
    on_in_eval = any(draw.site == first.site and draw.use for record in evaluated for draw in record.draws)
    counted = [(draw.share, draw.units) for draw in draws if draw.share is not None]
    shares, units = [share for share, _ in counted], [count for _, count in counted]
    scales = [scale for draw in draws if (scale := draw.total_scale())]
    module = dict(model.named_modules()).get(first.name)
    seconds, made = sum(record.seconds for record in train) or 1.0, sum(record.bytes for record in train) or 1
    trained = [draw for record in train for draw in record.draws if draw.site == first.site]
    return FoundSite(
        name=first.name,
        line=first.line,
        kind=kind,
        op=first.op.removeprefix("aten::"),
        shared_axes=first.shared if first.axes else None,
        axes=first.axes,
        p=declared.rate(module) if first.p is None else round(first.p, 9),  # 1 - 0.8 is not 0.2
        measured=sum(share * count for share, count in counted) / sum(units) if counted else None,
        interval=interval(shares, units) if counted else None,
        scale=sum(scales) / len(scales) if scales and kind == "dropout" else None,
        on_in_train=any(passes),
        on_in_eval=on_in_eval,
        turned_off_by="never" if on_in_eval else "another mode" if still_on else "module mode",
        draws=sum(passes) / max(1, sum(map(bool, passes))),
        reached=sum(map(bool, passes)) / len(passes),
        time=sum(draw.seconds for draw in trained) / seconds,
        memory=sum(draw.bytes for draw in trained) / made,
        target=first.target,
        after=first.after.removeprefix("aten::"),
        follows=any(draw.follows for draw in draws),
        at_output=any(draw.at_output for draw in draws),
        feeds=max(draw.feeds for draw in draws),
    )


def _declared_only(model: nn.Module, found: Sequence[FoundSite], visited: set[str]) -> list[FoundSite]:
    """Returns the modules that declare a rate and drew nothing in any pass."""
    seen = {site.name for site in found}
    nothing: dict[str, Any] = dict(measured=None, interval=None, scale=None, on_in_train=False, on_in_eval=False)
    nothing |= dict(turned_off_by="unknown", draws=0.0, reached=0.0, time=0.0, memory=0.0, shared_axes=None, axes=0)
    silent = []
    for name, module in model.named_modules():
        p = declared.rate(module)
        drew = name in seen or any(other.startswith(f"{name}.") for other in seen) or name == ""
        if p is None or drew:
            continue
        kind = "silent" if name in visited else "not reached"
        note = "its rate is 0" if p == 0 else "it ran and drew nothing" if name in visited else "no pass reached it"
        silent.append(FoundSite(name=name, line=None, kind=kind, op=type(module).__name__, p=p, note=note, **nothing))
    return silent
