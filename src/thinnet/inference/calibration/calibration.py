"""Calibration of predictions: a fit on validation data, and scores on test data before and after it."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.inference.arguments import check_counts
from thinnet.inference.calibration import fitting
from thinnet.inference.calibration.calibrated import Calibration
from thinnet.inference.calibration.cases import cases, shared
from thinnet.inference.calibration.scorer import Row, Scorer
from thinnet.inference.calibration.sources import Drawn, Refit, Sources
from thinnet.inference.monte_carlo.outputs import Choice
from thinnet.inference.monte_carlo.prediction import Prediction
from thinnet.inference.monte_carlo.sampling import TWO
from thinnet.report.extras import need
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
    """Fits a temperature or tau, and the rate, on validation data; scores test data before and after the fit.

        labels   p(y) proportional to (1/n sum over t of softmax(z_t))^(1 / T),  T by the validation NLL
        values   p(y) = 1/n sum over t of N(y; f_t, 1 / tau),                    tau by the validation NLL
        rates    factor * p at every site, or one p at every site: the candidate with the lowest validation NLL

    The result compares the single pass with dropout off (weight scaling) with the Monte-Carlo average. Test data is never used
    in a fit. Intervals are 95 % bootstrap intervals over the test cases; they ignore the variation between training seeds. The
    model is unchanged: `thinnet.set_rates(model, found.rates)` applies the chosen rates.

    Args:
        model: a model with dropout sites; None if predictions are given instead of inputs.
        validation: a pair (x, y): inputs as `sample` takes them, or a `Prediction`, and the observations. Whole numbers `(B,)`
            are labels, floating-point numbers `(B,)` or `(B, D)` are values. For labels the output is logits `(B, C)`, or
            `(B,)` or `(B, 1)` for two classes.
        test: the same for other cases.
        n: the number of draws.
        seed: the seed of the masks and of the bootstrap. Every candidate has the same masks.
        factors: candidates for a factor on the rates, without those that bring a rate to 1. Empty: no refit of the rate.
        rates: candidates for one rate at every site, instead of `factors`.
        tau: the precision before the fit, from `tau = (1 - p) length^2 / (2 N weight_decay)`. Without it the single pass has no
            density before the fit, and Monte-Carlo uses a normal with the variance of the draws.
        kind: "mean_and_log_variance" for a network that predicts the noise of its data, as in `sample`: before the fit
            its variance is used, then a factor on it is fitted instead of tau.
        output: selects a tensor if the model returns several, as in `sample`.
        bins: the number of bins of both calibration errors: of equal width (ECE), or of equal size (adaptive ECE).
        resamples: the number of bootstrap resamples.
        batch_size: the most rows that run at once, each of one draw of one case.

    Returns: the rows: `print(found)`, `found["Monte-Carlo, temperature"].scores["NLL"]`, `found.difference(...)`,
        `found.picture()`, `found.html(path)`.

    Raises:
        ValueError: the validation cases are the test cases, x and y differ in length, a label is not among the classes, a value
            is not finite, or a number is out of range.
        TypeError: y is not a tensor, or inputs come without a model.
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
    twice = _check_parts(model, validation, test, kind)
    parts = {"validation": validation, "test": test}
    sources = Sources(model, parts, n, seed, batch_size, output, two=kind == TWO)
    scorer = Scorer(sources.observed["test"], bins, resamples, seed)
    rows: list[Row] = []
    if model is not None:
        rows += _rows(scorer, sources, "single pass", sources.single("validation"), sources.single("test"), tau)
    rows += _rows(scorer, sources, "Monte-Carlo", sources.draws("validation"), sources.draws("test"), tau)
    chosen, curve = {}, {}
    refit = None if model is None else Refit(model, "factor" if rates is None else "rate")
    if refit is not None:
        candidates = [value for value in (factors if rates is None else rates) if refit.possible(value)]
        curve = {value: sources.loss(refit.rates(value)) for value in candidates}
    if refit is not None and curve:
        best = min(curve, key=lambda value: curve[value])
        chosen = refit.rates(best)
        drawn = sources.draws("validation", chosen), sources.draws("test", chosen)
        rows += _rows(scorer, sources, "Monte-Carlo, rates", *drawn, tau, {refit.kind: best})
    wanted = refit is not None and bool(factors if rates is None else rates)
    notes = _notes(sources, rows, curve, tau, wanted, twice)
    return Calibration(tuple(rows), "logits" if sources.labels else "values", chosen, curve, len(scorer.y), notes)


def _rows(
    scorer: Scorer, sources: Sources, name: str, validation: Drawn, test: Drawn, tau: float | None, fitted: dict | None = None
) -> list[Row]:
    fitted, y, (draws, noise) = fitted or {}, sources.observed["validation"], test
    if sources.labels:
        temperature = fitting.fit_temperature(validation.draws, y)
        before = scorer.labels(name, draws, fitted=fitted)
        after = scorer.labels(f"{name}, temperature", draws, temperature, fitted | {"temperature": temperature})
        return [before, after]
    found = fitting.fit_variance(validation.draws, y, validation.noise)
    if noise is not None:
        after = scorer.values(f"{name}, variance", draws, found * noise, fitted | {"factor of variance": found})
        return [scorer.values(name, draws, noise, fitted), after]
    after = scorer.values(f"{name}, tau", draws, torch.tensor(found, dtype=draws.dtype), fitted | {"tau": 1 / found})
    if tau is not None:
        return [scorer.values(name, draws, torch.tensor(1 / tau, dtype=draws.dtype), fitted), after]
    if len(draws) == 1:
        return [after]
    own = draws.var(0).clamp_min(torch.finfo(torch.float32).tiny)
    return [scorer.values(name, draws.mean(0, keepdim=True), own, fitted), after]


def _notes(
    sources: Sources, rows: list[Row], curve: dict[float, float], tau: float | None, wanted: bool, twice: int
) -> tuple[str, ...]:
    fitted, scored = (len(sources.observed[part]) for part in ("validation", "test"))
    notes = [f"fitted on {fitted} cases, scored on {scored} others; 95 % bootstrap intervals over these"]
    if twice:
        notes = [f"fitted on {fitted} cases, scored on {scored}; 95 % bootstrap intervals over these"]
        notes.append(f"{twice} of the test cases equal a validation case: unless your data repeat, split them anew")
    for row in rows:
        temperature = row.fitted.get("temperature", 1.0)
        if not 1.1 / fitting.HOTTEST < temperature < fitting.HOTTEST / 1.1:
            notes.append(f"{row.name}: the temperature is at the end of its range")
    if wanted and not curve:
        notes.append("no rate was refit: the model has no rate to set, or every candidate brings one to 1")
    best = min(curve, key=lambda value: curve[value], default=None)
    if best is not None and len(curve) > 1 and best == min(curve):
        notes.append("the smallest rates are best on validation: at 0, Monte-Carlo equals the single pass")
    elif best is not None and len(curve) > 1 and best == max(curve):
        notes.append("the largest rates are best on validation: try larger ones")
    if not sources.labels and tau is None and sources.model is not None and not sources.two:
        notes.append(
            "no tau was given: before the fit, a single pass has no density, and Monte-Carlo uses the variance of its draws"
        )
    return (*notes, *sources.notes)


def _check(
    n: int, bins: int, resamples: int, factors: Sequence[float], rates: Sequence[float] | None, tau: float | None
) -> None:
    need("torchmetrics", "calibrate")
    check_counts("calibrate", 2, n=n)
    check_counts("calibrate", bins=bins)
    check_counts("calibrate", 100, resamples=resamples)
    for value in factors:
        if not 0 <= value < math.inf:
            raise ValueError(f"calibrate: factors must be at least 0 and finite; got {value!r}. Try (0.5, 1.0, 1.5).")
    for value in rates or ():
        rate.check("calibrate: rates", value)
    if tau is not None and not 0 < tau < math.inf:
        raise ValueError(f"calibrate: tau must be above 0 and finite; got {tau!r}. Leave it out to fit it.")


def _check_parts(model: nn.Module | None, validation: Pair, test: Pair, kind: str | None) -> int:
    """Returns how many test cases equal a validation case."""
    if kind not in (None, TWO):
        raise ValueError(f"calibrate: kind must be {TWO!r} or left out; got {kind!r}. The dtype of y selects labels or values.")
    for part, pair in (("validation", validation), ("test", test)):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[1], Tensor):
            raise TypeError(
                f"calibrate: {part} must be (x, y) with a tensor y; got {type(pair).__name__}. Write {part}=(x, y)."
            )
        if len(pair[1]) < 2:
            raise ValueError(f"calibrate: {part} must have two cases or more; got {len(pair[1])}. Add cases.")
        if (model is None) != isinstance(pair[0], Prediction):
            given = f"{type(pair[0]).__name__} {'without' if model is None else 'with'} a model"
            raise TypeError(f"calibrate: {part} must hold inputs and a model, or a Prediction and none; got {given}.")
    if kind == TWO and not validation[1].is_floating_point():
        raise ValueError(f"calibrate: kind={TWO!r} must go with values; got labels. Leave it out.")
    fitted, scored = cases(*validation), cases(*test)
    if fitted == scored:
        raise ValueError(
            "calibrate: test must hold other cases than validation; got the same. Split the held-out cases in two."
        )
    return shared(scored, fitted)
