"""Whether predicted probabilities and intervals can be taken at their word: before and after a fit on validation data."""

import importlib.util
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thinnet.inference.calibration import fitting
from thinnet.inference.calibration.calibrated import Calibration
from thinnet.inference.calibration.reliability import Judge, Row
from thinnet.inference.calibration.sources import Drawn, Refit, Sources
from thinnet.inference.monte_carlo.outputs import Choice
from thinnet.inference.monte_carlo.prediction import Prediction
from thinnet.inference.monte_carlo.sampling import TWO
from thinnet.rng import rates as rate

FACTORS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
Pair = tuple[Any, Tensor]


def calibrate(
    model: nn.Module | None = None,
    *,
    validation: Pair,
    test: Pair,
    n: int = 50,
    seed: int = 0,
    factors: Sequence[float] = FACTORS,
    rates: Sequence[float] | None = None,
    tau: float | None = None,
    kind: str | None = None,
    output: Choice = None,
    bins: int = 15,
    resamples: int = 1000,
    batch_size: int | None = None,
) -> Calibration:
    """Fits a temperature or tau, and the rate, on validation data; judges before and after on test data.

        labels   p(y) proportional to (1/n sum over t of softmax(z_t))^(1 / T),  T by the validation NLL
        values   p(y) = 1/n sum over t of N(y; f_t, 1 / tau),                    tau by the validation NLL
        rates    factor * p at every site, or one p at every site: the candidate with the lowest validation NLL

    The single pass, which scales the weights, and the Monte-Carlo average stand side by side. Nothing is fitted on what it is
    judged on, and every interval is over the test cases: 95 %, of a bootstrap. Between models that were trained anew, seeds
    differ too, and no interval here knows that. The model is left as it was: `thinnet.set_rates(model, found.rates)` puts in
    the rates that were chosen.

    Args:
        model: with sites. None where predictions are given in the place of inputs.
        validation: inputs, as `sample` takes them, or a `Prediction`, and what was observed: whole numbers `(B,)` are labels,
            floating numbers `(B,)` or `(B, D)` are values. Of labels, the output is logits `(B, C)`, or `(B,)` or `(B, 1)` of
            two classes.
        test: the same, of other cases.
        n: draws.
        seed: of the coins, and of the resampling. Every candidate tosses the same coins.
        factors: candidates; those that bring a rate to 1 are left out. Empty: no refit of the rate.
        rates: candidates for one rate at every site, in the place of `factors`.
        tau: the precision before the fit, from the formula `tau = (1 - p) length^2 / (2 N weight_decay)`. Without it the single
            pass has no density before the fit, and the draws' own normal stands for Monte-Carlo.
        kind: "mean_and_log_variance" of a network that says the noise of its data, as `sample` takes it; then the variance that
            it says stands before the fit, and a factor on it is what is fitted in the place of tau.
        output: which tensor is predicted, of a model that returns several; as `sample` takes it.
        bins: of both calibration errors: equal parts of 0 .. 1 (ECE), or groups of equal size (adaptive ECE).
        resamples: of the bootstrap.
        batch_size: rows at a time, each of one draw of one case.

    Returns: the rows: `print(found)`, `found["Monte-Carlo, temperature"].scores["NLL"]`, `found.difference(...)`,
        `found.picture()`, `found.html(path)`.

    Raises:
        ValueError: the validation cases are the test cases, numbers of cases differ, labels are not among the classes,
            a value is not finite, or a number is out of its range.
        TypeError: what was observed is no tensor, or an input comes without a model.
        ImportError: torchmetrics is not installed.

    Source: Guo et al. 2017, arXiv:1706.04599; Rahaman, Thiery 2020, arXiv:2007.08792; Gal, Ghahramani 2016, arXiv:1506.02142.

    >>> import thinnet
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), thinnet.nn.Dropout(0.5), nn.Linear(16, 3))
    >>> x, y = torch.randn(60, 4), torch.randint(3, (60,))
    >>> found = calibrate(model, validation=(x[:30], y[:30]), test=(x[30:], y[30:]), n=20, factors=(0.5, 1.0))
    >>> [row.name for row in found.rows][:2]
    ['single pass', 'single pass, temperature']
    """
    _check(n, bins, resamples, factors, rates, tau)
    _parts(model, validation, test, kind)
    parts = {"validation": validation, "test": test}
    sources = Sources(model, parts, n, seed, batch_size, output, two=kind == TWO)
    judge = Judge(sources.observed["test"], bins, resamples, seed)
    rows: list[Row] = []
    if model is not None:
        rows += _rows(judge, sources, "single pass", sources.single("validation"), sources.single("test"), tau)
    rows += _rows(judge, sources, "Monte-Carlo", sources.draws("validation"), sources.draws("test"), tau)
    chosen, curve = {}, {}
    refit = None if model is None else Refit(model, "factor" if rates is None else "rate")
    if refit is not None:
        candidates = [value for value in (factors if rates is None else rates) if refit.possible(value)]
        curve = {value: sources.loss(refit.rates(value)) for value in candidates}
    if refit is not None and curve:
        best = min(curve, key=lambda value: curve[value])
        chosen = refit.rates(best)
        drawn = sources.draws("validation", chosen), sources.draws("test", chosen)
        rows += _rows(judge, sources, "Monte-Carlo, rates", *drawn, tau, {refit.kind: best})
    wanted = refit is not None and bool(factors if rates is None else rates)
    notes = _notes(sources, rows, curve, tau, wanted)
    return Calibration(tuple(rows), "logits" if sources.labels else "values", chosen, curve, len(judge.y), notes)


def _rows(
    judge: Judge, sources: Sources, name: str, held: Drawn, tested: Drawn, tau: float | None, fitted: dict | None = None
) -> list[Row]:
    """Returns a way to predict before and after the fit."""
    fitted, y, (draws, noise) = fitted or {}, sources.observed["validation"], tested
    if sources.labels:
        temperature = fitting.fit_temperature(held.draws, y)
        before = judge.labels(name, draws, fitted=fitted)
        after = judge.labels(f"{name}, temperature", draws, temperature, fitted | {"temperature": temperature})
        return [before, after]
    found = fitting.fit_variance(held.draws, y, held.noise)
    if noise is not None:
        after = judge.values(f"{name}, variance", draws, found * noise, fitted | {"factor of variance": found})
        return [judge.values(name, draws, noise, fitted), after]
    after = judge.values(f"{name}, tau", draws, torch.tensor(found, dtype=draws.dtype), fitted | {"tau": 1 / found})
    if tau is not None:
        return [judge.values(name, draws, torch.tensor(1 / tau, dtype=draws.dtype), fitted), after]
    if len(draws) == 1:
        return [after]
    own = draws.var(0).clamp_min(torch.finfo(torch.float32).tiny)
    return [judge.values(name, draws.mean(0, keepdim=True), own, fitted), after]


def _notes(sources: Sources, rows: list[Row], curve: dict[float, float], tau: float | None, wanted: bool) -> tuple[str, ...]:
    held, tested = (len(sources.observed[part]) for part in ("validation", "test"))
    notes = [f"fitted on {held} cases, judged on {tested} others; 95 % intervals of a bootstrap over these"]
    for row in rows:
        temperature = row.fitted.get("temperature", 1.0)
        if not 1.1 / fitting.HOTTEST < temperature < fitting.HOTTEST / 1.1:
            notes.append(f"{row.name}: the temperature is at the end of its range")
    if wanted and not curve:
        notes.append("no rate was refit: the model owns none that a number could set, or every candidate brings one to 1")
    best = min(curve, key=lambda value: curve[value], default=None)
    if best is not None and len(curve) > 1 and best == min(curve):
        notes.append("the smallest rates are best on validation: towards 0, Monte-Carlo becomes the single pass")
    elif best is not None and len(curve) > 1 and best == max(curve):
        notes.append("the largest rates are best on validation: try larger ones")
    if not sources.labels and tau is None and sources.model is not None and not sources.two:
        notes.append(
            "no tau was given: before the fit, a single pass has no density, and Monte-Carlo only the draws' own normal"
        )
    return (*notes, *sources.notes)


def _check(
    n: int, bins: int, resamples: int, factors: Sequence[float], rates: Sequence[float] | None, tau: float | None
) -> None:
    """Refuses numbers that are out of their range, and a missing library."""
    if importlib.util.find_spec("torchmetrics") is None:
        raise ImportError("calibrate: torchmetrics must be installed; it is not. Run pip install 'thinnet[inference]'.")
    for name, value, least in (("n", n, 2), ("bins", bins, 1), ("resamples", resamples, 100)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"calibrate: {name} must be an integer of at least {least}; got {value!r}. Leave it out.")
    for value in factors:
        if not 0 <= value < math.inf:
            raise ValueError(f"calibrate: factors must be at least 0 and finite; got {value!r}. Try (0.5, 1.0, 1.5).")
    for value in rates or ():
        rate.check("calibrate: rates", value)
    if tau is not None and not 0 < tau < math.inf:
        raise ValueError(f"calibrate: tau must be above 0 and finite; got {tau!r}. Leave it out to have it fitted alone.")


def _parts(model: nn.Module | None, validation: Pair, test: Pair, kind: str | None) -> None:
    """Refuses parts that are no pairs, that hold the same cases, or that lack a model."""
    if kind not in (None, TWO):
        raise ValueError(f"calibrate: kind must be {TWO!r} or left out; got {kind!r}. What y holds says the rest.")
    for part, pair in (("validation", validation), ("test", test)):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[1], Tensor):
            raise TypeError(
                f"calibrate: {part} must be (x, y) with a tensor y; got {type(pair).__name__}. Write {part}=(x, y)."
            )
        if len(pair[1]) < 2:
            raise ValueError(f"calibrate: {part} must have two cases or more; got {len(pair[1])}. Hold out more.")
        if (model is None) != isinstance(pair[0], Prediction):
            given = f"{type(pair[0]).__name__} {'without' if model is None else 'with'} a model"
            raise TypeError(f"calibrate: {part} must hold inputs and a model, or a Prediction and none; got {given}.")
    if kind == TWO and not validation[1].is_floating_point():
        raise ValueError(f"calibrate: kind={TWO!r} must go with values; got labels. Leave it out.")
    one, other = (tree_leaves(x.draws if isinstance(x, Prediction) else x) for x in (validation[0], test[0]))
    if len(one) == len(other) and all(isinstance(a, Tensor) and torch.equal(a, b) for a, b in zip(one, other, strict=True)):
        raise ValueError(
            "calibrate: test must hold other cases than validation; got the same. Split the held-out cases in two."
        )
