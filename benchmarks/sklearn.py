"""The estimators beside scikit-learn's MLP: `python -m benchmarks.sklearn [times|quality] [--quick]`.

Times: MLP and the estimators fit in turn, in one process, with the same widths, batch size, solver and epochs, on float32
inputs. Each round gives one ratio. A row has the median ratio of wall time, and that of processor time, which other programs on
the machine disturb less. Quality: errors of cross-validation, paired by seed and row.
"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_classification,
    make_friedman1,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.measure import write
from thinnet.sklearn import DropoutClassifier, DropoutRegressor
from thinnet.study.statistics import crossed_interval

BATCH, ROUNDS, SEEDS, FOLDS = 200, 5, 2, 4
WORK = 30_000
"""The rows times epochs of one timed fit, about."""
CANDIDATES: dict[str, dict[str, Any]] = {
    "no dropout": {"dropout": 0.0},
    "dropout": {"dropout": 0.5},
    "thinned": {"dropout": 0.5, "thin": True},
}
Data = tuple[np.ndarray, np.ndarray]


def made(rows: int, task: str) -> Data:
    """Return a made data set."""
    if task == "regression":
        return make_friedman1(rows, noise=1.0, random_state=0)
    return make_classification(rows, 30, n_informative=10, n_classes=3, flip_y=0.05, class_sep=0.7, random_state=0)


def bundled() -> dict[str, tuple[str, Data]]:
    """Return the data sets that come with scikit-learn."""
    loaders = {"breast cancer": load_breast_cancer, "digits": load_digits, "wine": load_wine}
    sets = {name: ("classification", load(return_X_y=True)) for name, load in loaders.items()}
    return sets | {"diabetes": ("regression", load_diabetes(return_X_y=True))}


def times(quick: bool) -> list[dict[str, object]]:
    """Return the ratio of the fit times to those of MLP."""
    cases = [(1000, width, task) for width in (64, 128, 256, 512, 1024) for task in ("classification", "regression")]
    cases += [(20_000, width, "classification") for width in (64, 128, 256)] + [(100_000, 128, "classification")]
    rows = []
    for number, width, task in cases[:1] if quick else cases:
        x, y = made(number, task)
        epochs = max(WORK * min(256 // width + 1, 2) // 2 // number, 1) if not quick else 1
        rows.append(
            {"rows": number, "width": width, "task": task, "epochs": epochs} | _ratios(x, y, width, epochs, task, quick)
        )
        print(rows[-1], flush=True)
    return rows


def _ratios(x: np.ndarray, y: np.ndarray, width: int, epochs: int, task: str, quick: bool) -> dict[str, object]:
    x, own = x.astype(np.float32), DropoutClassifier if task == "classification" else DropoutRegressor
    same: dict[str, Any] = {"hidden_layer_sizes": (width, width), "batch_size": BATCH, "random_state": 0}
    fits: dict[str, Callable[[], Any]] = {"MLP": lambda: _mlp(task, epochs, **same).fit(x, y)}
    for name, settings in CANDIDATES.items():
        model = own(max_epochs=epochs, calibration=0.0, **same, **settings)
        fits[name] = lambda model=model: model.fit(x, y)
    wall: dict[str, list[float]] = {name: [] for name in fits}
    processor: dict[str, list[float]] = {name: [] for name in fits}
    for turn in range(1 if quick else ROUNDS + 1):
        for name, fit in fits.items():
            started, used = time.perf_counter(), time.process_time()
            fit()
            if turn or quick:  # the first round warms up
                wall[name].append(time.perf_counter() - started)
                processor[name].append(time.process_time() - used)
    found: dict[str, object] = {"MLP seconds": round(min(wall["MLP"]), 4)}
    for name in CANDIDATES:
        for clock, seconds in (("", wall), (", processor", processor)):
            ratios = [mine / theirs for mine, theirs in zip(seconds[name], seconds["MLP"], strict=True)]
            found[name + clock] = round(statistics.median(ratios), 3)
    return found


def _mlp(task: str, epochs: int, **same: Any) -> Any:
    kind = MLPClassifier if task == "classification" else MLPRegressor
    return kind(max_iter=epochs, n_iter_no_change=epochs + 1, **same)


def quality(quick: bool) -> list[dict[str, object]]:
    """Return errors and coverage by cross-validation, with the interval of the paired difference to MLP."""
    sets = bundled() | {f"made, {rows} rows": (task, made(rows, task)) for rows, task in _MADE}
    rows = []
    for name, (task, (x, y)) in list(sets.items())[2:4] if quick else sets.items():
        errors: dict[str, list[np.ndarray]] = {"MLP": [], "thinnet": []}
        covered = []
        for seed in range(SEEDS):
            ours, theirs, inside = _cross_validated(task, x, y, seed, 2 if quick else max(min(60, 400_000 // len(x)), 10))
            errors["thinnet"].append(ours)
            errors["MLP"].append(theirs)
            covered.append(inside.mean())
        interval = crossed_interval(np.array(errors["thinnet"]) - np.array(errors["MLP"]))
        found: dict[str, object] = {"data": name, "task": task}
        found |= {side: round(float(np.mean(each)), 4) for side, each in errors.items()}
        found |= {"difference": [round(value, 4) for value in (interval.mean, interval.low, interval.high)]}
        rows.append(found | {"coverage of 90 %": round(float(np.mean(covered)), 4)})
        print(rows[-1], flush=True)
    return rows


_MADE = ((1000, "classification"), (1000, "regression"), (20_000, "classification"), (20_000, "regression"))


def _cross_validated(task: str, x: np.ndarray, y: np.ndarray, seed: int, epochs: int) -> tuple[np.ndarray, ...]:
    """Return the error of every row for both, and whether its interval or set holds the truth.

    The error is 0 or 1 for classes, and the squared error over the variance of the target for numbers.
    """
    ours, theirs, inside = np.empty(len(y)), np.empty(len(y)), np.empty(len(y))
    same: dict[str, Any] = {"hidden_layer_sizes": (128, 128), "batch_size": 32 if len(y) < 5000 else 200, "random_state": seed}
    for train, test in KFold(FOLDS, shuffle=True, random_state=seed).split(x):
        mlp = _mlp(task, epochs, **same)
        if task == "regression":
            mlp = TransformedTargetRegressor(mlp, transformer=StandardScaler())
        own = (DropoutClassifier if task == "classification" else DropoutRegressor)(max_epochs=epochs, **same)
        models = [make_pipeline(StandardScaler(), each).fit(x[train], y[train]) for each in (own, mlp)]
        rows, scaled = y[test], models[0][:-1].transform(x[test])
        for model, errors in zip(models, (ours, theirs), strict=True):
            found = model.predict(x[test])
            errors[test] = found != rows if task == "classification" else (found - rows) ** 2 / y.var()
        if own.conformal_.scores.size == 0:
            inside[test] = np.nan
        elif task == "classification":
            inside[test] = own.predict_set(scaled)[np.arange(len(test)), np.searchsorted(own.classes_, rows)]
        else:
            low, high = own.predict_interval(scaled).T
            inside[test] = (low <= rows) & (rows <= high)
    return ours, theirs, inside


def main(arguments: list[str]) -> None:
    """Run the named parts, or both, and write their results."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    quick = "--quick" in arguments
    parts = {"times": times, "quality": quality}
    for name in [each for each in arguments if each in parts] or parts:
        torch.set_num_threads(2 if name == "times" else 1)
        rows = parts[name](quick)
        if not quick:
            write(f"sklearn_{name}", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
