"""The estimators beside scikit-learn's MLP: `OMP_NUM_THREADS=2 python -m benchmarks.sklearn [times|quality|rivals] [--quick]`.

Times: MLP and the estimators fit in turn, in one process, with the same widths, batch size, solver and epochs, on float32
inputs. Each round gives one ratio. A row has the median ratio of wall time, and that of processor time, which other programs on
the machine disturb less. Quality: errors of cross-validation, paired by seed and row. Rivals: errors and fit times beside
RealMLP and TabM with the defaults of pytabkit, on the bundled data sets.
"""

import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
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
from sklearn.preprocessing import StandardScaler

from benchmarks.measure import write
from thinnet.sklearn import DropoutClassifier, DropoutRegressor
from thinnet.study.evidence.statistics import crossed_interval

BATCH, ROUNDS, SEEDS, FOLDS, RIVAL_FOLDS = 200, 9, 2, 4, 3
PAUSE = 0.3
"""Seconds before each timed fit: the threads of the library before it keep the cores busy for a while."""

WORK = 15_000
"""The rows times epochs of one timed fit, about."""
CANDIDATES: dict[str, dict[str, Any]] = {
    "no dropout": {"dropout": 0.0},
    "dropout": {"dropout": 0.5},
    "thinned": {"dropout": 0.5, "thin": True},
}


def made(rows: int, task: str) -> Any:
    """Returns a made data set."""
    if task == "regression":
        return make_friedman1(rows, noise=1.0, random_state=0)
    return make_classification(rows, 30, n_informative=10, n_classes=3, flip_y=0.05, class_sep=0.7, random_state=0)


def bundled() -> dict[str, Any]:
    """Returns the data sets that come with scikit-learn."""
    loaders = {"breast cancer": load_breast_cancer, "digits": load_digits, "wine": load_wine}
    sets: dict[str, Any] = {name: ("classification", load(return_X_y=True)) for name, load in loaders.items()}
    return sets | {"diabetes": ("regression", load_diabetes(return_X_y=True))}


def times(quick: bool) -> list[dict[str, object]]:
    """Returns the ratio of the fit times to those of MLP."""
    cases = [(1000, width, "classification") for width in (64, 128, 256, 512, 1024)]
    cases += [(1000, width, "regression") for width in (128, 512)]
    cases += [(20_000, width, "classification") for width in (64, 256)] + [(100_000, 128, "classification")]
    rows = []
    for number, width, task in cases[:1] if quick else cases:
        x, y = made(number, task)
        epochs = 1 if quick else max(WORK // number // (1 if width <= 256 else 2), 1)
        case = {"rows": number, "width": width, "task": task, "epochs": epochs}
        rows.append(case | _ratios(x, y, width, epochs, task, quick))
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
            time.sleep(PAUSE)
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
    """Returns errors by cross-validation, with the intervals of the paired differences to MLP, and the coverage."""
    sets = bundled() | {f"made, {rows} rows, {task}": (task, made(rows, task)) for rows, task in MADE}
    rows = []
    for name, (task, (x, y)) in list(sets.items())[2:4] if quick else sets.items():
        epochs = 2 if quick else max(min(60, 400_000 // len(x)), 10)
        found = [_cross_validated(task, x, y, seed, epochs) for seed in range(1 if quick else SEEDS)]
        row: dict[str, object] = {"data": name, "MLP": _rounded(np.mean([errors["MLP"] for errors, _ in found]))}
        for model in MODELS:
            row[model] = _rounded(np.mean([errors[model] for errors, _ in found]))
            if len(found) > 1:
                interval = crossed_interval(np.array([errors[model] - errors["MLP"] for errors, _ in found]))
                row[f"{model}, less MLP"] = [_rounded(end) for end in (interval.mean, interval.low, interval.high)]
        share = np.mean([inside for _, inside in found])
        rows.append(row | {"coverage of 90 %": None if np.isnan(share) else _rounded(share)})
        print(rows[-1], flush=True)
    return rows


MADE = tuple((rows, task) for rows in (1000, 20_000, 100_000) for task in ("classification", "regression"))
MODELS: dict[str, dict[str, Any]] = {"dropout": {}, "no dropout": {"dropout": 0.0}}
"""The first has the default rate: 0.2 for classes and 0.1 for numbers."""


def _rounded(value: Any) -> float:
    return round(float(value), 4)


def _cross_validated(
    task: str, x: np.ndarray, y: np.ndarray, seed: int, epochs: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the error of every row by model, and whether the interval or set of the first one with dropout holds the truth.

    The error is 0 or 1 for classes, and the squared error over the variance of the target for numbers.
    """
    errors, inside = {name: np.empty(len(y)) for name in ("MLP", *MODELS)}, np.full(len(y), np.nan)
    same: dict[str, Any] = {"hidden_layer_sizes": (128, 128), "batch_size": 32 if len(y) < 5000 else 200, "random_state": seed}
    kind = DropoutClassifier if task == "classification" else DropoutRegressor
    for train, test in KFold(FOLDS, shuffle=True, random_state=seed).split(x):
        mlp = _mlp(task, epochs, **same)
        models: dict[str, Any] = {
            "MLP": TransformedTargetRegressor(mlp, transformer=StandardScaler()) if task == "regression" else mlp
        }
        models |= {name: kind(max_epochs=epochs, **same, **settings) for name, settings in MODELS.items()}
        scaler = StandardScaler().fit(x[train])
        for name, model in models.items():
            found = model.fit(scaler.transform(x[train]), y[train]).predict(scaler.transform(x[test]))
            errors[name][test] = found != y[test] if task == "classification" else (found - y[test]) ** 2 / y.var()
        if len(models["dropout"].conformal_.scores):
            inside[test] = _inside(models["dropout"], scaler.transform(x[test]), y[test])
    return errors, inside


def _inside(model: Any, x: Any, y: np.ndarray) -> np.ndarray:
    if isinstance(model, DropoutClassifier):
        return model.predict_set(x)[np.arange(len(x)), np.searchsorted(model.classes_, y)]
    low, high = model.predict_interval(x).T
    return (low <= y) & (y <= high)


def rivals(quick: bool) -> list[dict[str, object]]:
    """Returns errors and fit times beside RealMLP and TabM, with the intervals over rows of the differences to dropout."""
    if find_spec("pytabkit") is None:
        raise SystemExit("rivals: pytabkit must be installed; it is not. Run pip install 'thinnet[rivals]'.")
    rows = []
    for name, (task, (x, y)) in bundled().items() if not quick else [*bundled().items()][2:3]:
        errors, seconds = _beside_rivals(task, x, y, quick)
        row: dict[str, object] = {"data": name}
        for model, error in errors.items():
            difference = error - errors["dropout"]
            half = 1.96 * difference.std(ddof=1) / len(y) ** 0.5
            row[model] = _rounded(error.mean())
            row[f"{model}, seconds"] = _rounded(seconds[model])
            row[f"{model}, less dropout"] = [_rounded(difference.mean() + side * half) for side in (0, -1, 1)]
        rows.append(row)
        print(rows[-1], flush=True)
    return rows


def _beside_rivals(task: str, x: np.ndarray, y: np.ndarray, quick: bool) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Returns the error of every row by model, as `_cross_validated` does, and the mean seconds of a fit."""
    import pytabkit

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    kind, suffix = (DropoutClassifier, "Classifier") if task == "classification" else (DropoutRegressor, "Regressor")
    epochs: dict[str, Any] = {"n_epochs": 2} if quick else {}
    same: dict[str, Any] = {"hidden_layer_sizes": (128, 128), "batch_size": 32, "random_state": 0}
    own: dict[str, Any] = {"random_state": 0, "device": "cpu", "n_threads": torch.get_num_threads()} | epochs
    makers: dict[str, Callable[[], Any]] = {
        "MLP": lambda: (
            TransformedTargetRegressor(_mlp(task, 60, **same), transformer=StandardScaler())
            if task == "regression"
            else _mlp(task, 60, **same)
        ),
        "dropout": lambda: kind(max_epochs=60, **same),
        "RealMLP": lambda: getattr(pytabkit, f"RealMLP_TD_{suffix}")(**own),
        "TabM": lambda: getattr(pytabkit, f"TabM_D_{suffix}")(**own),
    }
    errors, seconds = {name: np.empty(len(y)) for name in makers}, dict.fromkeys(makers, 0.0)
    for train, test in KFold(RIVAL_FOLDS, shuffle=True, random_state=0).split(x):
        scaler = StandardScaler().fit(x[train])
        before, after = (np.asarray(scaler.transform(x[rows]), np.float32) for rows in (train, test))
        for name, make in makers.items():
            started = time.perf_counter()
            model = make().fit(before, y[train])
            seconds[name] += (time.perf_counter() - started) / RIVAL_FOLDS
            found = np.asarray(model.predict(after))
            errors[name][test] = found != y[test] if task == "classification" else (found - y[test]) ** 2 / y.var()
    return errors, seconds


def main(arguments: list[str]) -> None:
    """Runs the named parts, or all, and writes their results."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", module="lightning")
    quick = "--quick" in arguments
    parts = {"times": times, "quality": quality, "rivals": rivals}
    for name in [each for each in arguments if each in parts] or parts:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))  # NumPy has as many
        rows = parts[name](quick)
        if not quick:
            write(f"sklearn_{name}", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
