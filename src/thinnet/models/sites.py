"""Finds every dropout site of a model by tracing it in training and in evaluation, and not by the names of classes."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from thinnet.models import declared
from thinnet.models.declared_only import declared_only
from thinnet.models.found import DROPS, FoundSite, Sites, interval
from thinnet.models.passes import effects, traced, unread, with_gradient
from thinnet.models.state import State, preserve_state
from thinnet.models.trace import Trace
from thinnet.models.trace.record import Draw, SiteId
from thinnet.report.progress import Progress, progressing
from thinnet.rng.names import unwrap

UNTRIED = ("decides", "chooses", "seeds", "calls")  # uses whose effect on the output of a training pass is not tried


def sites(
    model: nn.Module,
    *example: Any,
    passes: int = 8,
    seed: int = 0,
    run: Callable[[nn.Module], Any] | None = None,
    **named: Any,
) -> Sites:
    """Returns every dropout site of a model: what it does, how much it drops, and what turns it off.

    The model runs `passes` times in training mode, twice in evaluation mode, and a few times more to find which sites the
    output depends on. Afterwards parameters, buffers, gradients, modes, attributes and random generators are as before.

    Args:
        model: any module.
        example: what the model is called with. Without an example only the rates that modules declare are listed.
        passes: how often it runs in training mode; a site that few passes reach needs more.
        seed: seed of the passes.
        run: runs the model, where `model(*example, **named)` does not.
        named: keyword arguments of the call.

    Raises:
        TypeError: `model` is no module.
        ValueError: `passes` is no positive integer, or a lazy module has no values yet.

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
    lazy = next((name for name, parameter in model.named_parameters() if is_lazy(parameter)), None)
    if lazy is not None:
        raise ValueError(f"sites: every parameter must have values; got {lazy!r} without. Run the lazy model once before.")
    call = run or (lambda model: model(*example, **named))
    if not example and not named and run is None:
        found = Sites(declared_only(model, (), set()))
        found.unseen = ("sites that no module declares: run the model, sites(model, *example)",)
        return found
    return _Passes(unwrap(model), call, (example, named), seed).merged(passes)


class _Passes:
    """The traced passes of a model, and what they show together.

    Args:
        model: the model.
        call: runs it.
        inputs: what it is called with.
        seed: of the passes.
    """

    def __init__(self, model: nn.Module, call: Callable[[nn.Module], Any], inputs: Any, seed: int) -> None:
        self.model, self.call, self.seed = model, call, seed
        self.names = dict(model.named_modules())
        self.inputs = inputs
        self.train: list[Trace] = []
        self.evaluated: list[Trace] = []

    def merged(self, passes: int) -> Sites:
        """Runs the model and returns its sites."""
        model, call = self.model, self.call
        with progressing("sites", passes + 3) as progress, preserve_state(model, self.seed) as state:
            self._run(passes - 1, True, state, progress)
            record, sensitive = with_gradient(model, call, self.inputs, state.generators)
            state.restore()
            self.train.append(record)
            self._run(2, False, state, progress)
            drawn = [draw for record in self.train for draw in record.draws]
            off = {draw.name for draw in drawn}
            switched = traced(model, call, training=True, off=off, objects=state.generators)
            state.restore()
            progress.advance()
            evaluated = self._evaluated({draw.site for draw in drawn})
            unused = unread(model, call, evaluated, False, state)
            on = {draw.site for draw in evaluated if draw.use} - unused
            idle = unread(model, call, [draw for draw in switched.draws if draw.site in unused], True, state, off)
            still_on = {draw.site for draw in switched.draws if draw.use} - idle
            tried = {draw.site for draw in record.draws if draw.use not in UNTRIED}
            effect_of = effects(model, call, tried, sensitive, state)
            progress.advance()
        return self._merge([*drawn, *evaluated], on, still_on, effect_of)

    def _run(self, passes: int, training: bool, state: State, progress: Progress) -> None:
        inputs = self.inputs if training else ()
        for _ in range(passes):
            record = traced(self.model, self.call, training=training, inputs=inputs, objects=state.generators)
            (self.train if training else self.evaluated).append(record)
            state.restore()
            progress.advance()

    def _evaluated(self, trained: set[SiteId]) -> list[Draw]:
        """Returns the draws in evaluation. An attention function that drew visibly in training does not draw on its own."""
        draws = (draw for record in self.evaluated for draw in record.draws)
        return [draw for draw in draws if draw.use != "calls" or draw.site in trained]

    def _merge(self, drawn: list[Draw], on: set[SiteId], still_on: set[SiteId], effect_of: dict[SiteId, bool]) -> Sites:
        draws: dict[SiteId, list[Draw]] = {}
        for draw in drawn:
            draws.setdefault(draw.site, []).append(draw)
        found = [self._site(held, site in on, site in still_on) for site, held in draws.items()]
        found = [replace(site, effect=effect) for site, effect in zip(found, map(effect_of.get, draws), strict=True)]
        visited = {name for record in self.train for name in record.visited}
        merged = Sites((*found, *declared_only(self.model, found, visited)))
        lost = sorted({site.name for site in found if site.on_in_train and site.reached < 1})
        merged.unseen = tuple(f"{name or 'the model'}: some passes did not reach it" for name in lost)
        return merged

    def _site(self, draws: list[Draw], on_in_eval: bool, still_on: bool) -> FoundSite:
        first = max(draws, key=lambda draw: bool(draw.use))
        kinds = {draw.kind for draw in draws}
        kind = first.kind if len(kinds) > 1 else kinds.pop()
        passes = [sum(draw.site == first.site for draw in record.draws) for record in self.train]
        counted = [(draw.share, draw.units) for draw in draws if draw.share is not None]
        shares, units = [share for share, _ in counted], [count for _, count in counted]
        scales = [scale for draw in draws if (scale := draw.total_scale())]
        made = sum(record.bytes for record in self.train) or 1
        trained = [draw for record in self.train for draw in record.draws if draw.site == first.site]
        return FoundSite(
            name=first.name,
            line=first.line,
            calls=first.lines[1:],
            kind=kind,
            op=first.op.removeprefix("aten::"),
            shared_axes=first.shared if first.axes else None,
            axes=first.axes,
            p=self._rate(draws, kind),
            measured=sum(share * count for share, count in counted) / sum(units) if counted else None,
            interval=interval(shares, units) if counted else None,
            scale=sum(scales) / len(scales) if scales and kind == "dropout" else None,
            on_in_train=any(draw.use for draw in trained),
            on_in_eval=on_in_eval,
            turned_off_by="never" if on_in_eval else "another mode" if still_on else "module mode",
            draws=sum(passes) / max(1, sum(map(bool, passes))),
            reached=sum(map(bool, passes)) / len(passes),
            time=self._time(first.site),
            memory=sum(draw.bytes for draw in trained) / made,
            target=first.target,
            after=first.after.removeprefix("aten::"),
            follows=any(draw.follows for draw in draws),
            at_output=any(draw.at_output for draw in draws),
            feeds=max(draw.feeds for draw in draws),
            mean=_mean([(factor, max(1, draw.units)) for draw in draws if (factor := draw.factor()) is not None]),
            self_scaled=_self_scaled(draws),
        )

    def _time(self, site: SiteId) -> float:
        """Returns the share of the time that a site takes: the median over the passes that reach it, times their share.

        In a mean, one interruption of the process would count as the time of the site that it met.
        """
        taken = [[draw.seconds for draw in record.draws if draw.site == site] for record in self.train]
        shares = [sum(each) / (record.seconds or 1.0) for each, record in zip(taken, self.train, strict=True) if each]
        return statistics.median(shares) * len(shares) / len(self.train) if shares else 0.0

    def _rate(self, draws: list[Draw], kind: str) -> float | None:
        """Returns the nominal rate: the mean of what the draws state, or what a dropout module declares for its only draw."""
        mean = _mean([(draw.p, max(1, draw.units)) for draw in draws if draw.p is not None])
        if mean is not None:
            return round(mean, 9)  # 1 - 0.8 is not 0.2
        module = self.names.get(draws[0].name)
        alone = len({draw.site for record in self.train for draw in record.draws if draw.name == draws[0].name}) == 1
        return declared.rate(module) if kind in DROPS and alone and declared.is_dropout(module) else None


def _mean(weighted: list[tuple[float, int]]) -> float | None:
    """Returns the mean of numbers with weights; None where there are none."""
    return sum(value * weight for value, weight in weighted) / sum(weight for _, weight in weighted) if weighted else None


def _self_scaled(draws: list[Draw]) -> bool:
    """Returns whether the factor of each draw corrects for the share that it dropped, better than any one factor can."""
    pairs = [(scale, 1 - draw.share) for draw in draws if draw.share and (scale := draw.total_scale())]
    if len({kept for _, kept in pairs}) < 2:
        return False
    factor = statistics.fmean(scale for scale, _ in pairs)
    own, one = (max(abs(by * kept - 1) for by, kept in each) for each in (pairs, [(factor, kept) for _, kept in pairs]))
    return own < 0.1 * one
