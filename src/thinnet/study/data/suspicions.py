"""What in the data makes the answer of a study of little use, each with its number."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from thinnet.study.data.dataset import Split
from thinnet.study.data.tasks import Classification, Task

MAJORITY = 0.95
"""A class with a larger share of the rows makes a constant answer look good."""

FAR = 100.0
"""Targets further from the median than this many interquartile ranges dominate the squared error."""

COPIES = 0.01
"""The share of the test rows that may be copies of training rows."""

ALIKE = 0.9999
"""A correlation with the target above this is a leak."""

NARROW = 1e-3
"""Where half of the values span less than this share of the standard deviation, a few extreme ones determine the scale."""

ROWS_A_LEVEL = 5


def suspicions(features: pd.DataFrame, target: np.ndarray, task: Task, development: Split, test: Split) -> Iterator[str]:
    """Yields one sentence for each: a dominant class, extreme values, copies across the sets, and a feature that is the target.

    Args:
        features: the used columns, one row for each target.
        target: the classes, or the numbers in their unit.
        task: how predictions are scored.
        development: the encoded training and validation sets.
        test: the encoded test set.
    """
    yield from _dominant(target, task)
    copies = _copies(development.x, test.x)
    if copies > COPIES * len(test):
        yield f"{copies} of {len(test)} test rows have the same features as another row: the test is optimistic."
    for name, values in features.items():
        if _gives_away(values, target, task):
            yield f"Column {str(name)!r} alone determines the target. If it is not known before the target is, leave it out."
        if (extreme := _extreme(values)) is not None:
            yield f"Column {str(name)!r} has extreme values, such as {extreme:.3g}: the others look alike beside them."


def _dominant(target: np.ndarray, task: Task) -> Iterator[str]:
    if isinstance(task, Classification):
        share = np.bincount(target).max() / len(target)
        if share > MAJORITY:
            name, rest = task.classes[int(np.bincount(target).argmax())], 100 * (1 - share)
            yield f"{100 * share:.1f} % of the rows are of class {name!r}: always answering it has an error of {rest:.2g} %."
        return
    low, middle, high = np.quantile(target, (0.25, 0.5, 0.75))
    far = int((np.abs(target - middle) > FAR * ((high - low) or 1.0)).sum())
    if far:
        largest = target[np.abs(target - middle).argmax()]
        yield f"{far} of {len(target)} targets are extreme, such as {largest:.3g}: they alone determine the squared error."


def _extreme(values: pd.Series) -> float | None:
    """Returns the most extreme number of a column that is scaled by a few of them."""
    if values.dtype != np.float64:
        return None
    numbers = values.dropna().to_numpy(np.float64)
    low, middle, high = np.quantile(numbers, (0.25, 0.5, 0.75)) if len(numbers) else (0.0, 0.0, 0.0)
    if not 0 < high - low < NARROW * np.std(numbers, ddof=1):
        return None
    return float(numbers[np.abs(numbers - middle).argmax()])


def _copies(train: np.ndarray, test: np.ndarray) -> int:
    seen = {row.tobytes() for row in np.ascontiguousarray(train)}
    return sum(row.tobytes() in seen for row in np.ascontiguousarray(test))


def _gives_away(values: pd.Series, target: np.ndarray, task: Task) -> bool:
    if isinstance(task, Classification):
        codes = pd.factorize(values, use_na_sentinel=False)[0]
        levels = int(codes.max()) + 1
        if not 1 < levels <= len(target) / ROWS_A_LEVEL:
            return False
        return bool((pd.Series(target).groupby(codes).nunique() == 1).all())
    if values.dtype != np.float64 or values.isna().any() or np.ptp(values.to_numpy()) == 0:
        return False
    return bool(abs(np.corrcoef(values.to_numpy(), target)[0, 1]) > ALIKE)
