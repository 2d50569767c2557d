"""The target: its task, and its values as classes or numbers."""

import numpy as np
import pandas as pd

from thinnet.study.data.written import text_as_numbers
from thinnet.study.design.plan import FEWEST_IN_CLASS, StudyError

MOST_CLASSES_OF_NUMBERS = 20

MOST_NAMED = 5
"""An error names this many rare classes."""


def infer_task(target: pd.Series) -> str:
    """Infers the task: text, booleans and up to 20 different whole numbers are classes; missing values are not allowed.

    Example:
        >>> infer_task(pd.Series([0.0, 1.0, 2.0])), infer_task(pd.Series([0.5, 1.0, 2.0]))
        ('classification', 'regression')
    """
    if pd.api.types.is_bool_dtype(target) or not pd.api.types.is_numeric_dtype(target):
        return "classification"
    values = target.unique()
    few_whole = len(values) <= MOST_CLASSES_OF_NUMBERS and all(float(value).is_integer() for value in values)
    return "classification" if few_whole else "regression"


def as_classes(target: pd.Series) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the classes, and the class of every row as int64.

    Raises:
        StudyError: there is one class only, or a class has too few rows for three sets.
    """
    codes, values = pd.factorize(target, sort=True)
    if len(values) < 2:
        rule = f"column {target.name!r} must hold at least two classes"
        raise StudyError("--target", rule, f"only {str(values[0])!r}", "Choose another column.")
    names = tuple(str(value) for value in values)
    counts = np.bincount(codes)
    if counts.min() < FEWEST_IN_CLASS:
        raise _too_rare(target, names, counts)
    return names, codes.astype(np.int64)


def _too_rare(target: pd.Series, names: tuple[str, ...], counts: np.ndarray) -> StudyError:
    """Returns the error that names the rare classes, and a text that keeps the target from being read as numbers."""
    rare = np.flatnonzero(counts < FEWEST_IN_CLASS)
    found = ", ".join(f"{counts[code]} of {names[code]!r}" for code in rare[:MOST_NAMED])
    found += f", and {len(rare) - MOST_NAMED} more such classes" if len(rare) > MOST_NAMED else ""
    advice = "Merge or remove them, or choose another column."
    if pd.api.types.is_numeric_dtype(target):
        advice = "Merge or remove them, or give --task regression."
    elif (numbers := text_as_numbers(target, enough=0.5)) is not None and numbers.not_numbers:
        advice = f"If the target is a number, replace or remove {numbers.not_numbers[0]!r}."
    rule = f"every class of {target.name!r} must have at least {FEWEST_IN_CLASS} rows"
    return StudyError("--target", rule, found, advice)


def as_numbers(target: pd.Series) -> np.ndarray:
    """Returns the target as float64.

    Raises:
        StudyError: a value is not a finite number, or all are the same.
    """
    numbers = np.asarray(pd.to_numeric(target.astype("object"), errors="coerce"), dtype=np.float64)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        rule = f"column {target.name!r} must hold finite numbers for regression"
        typed = pd.api.types.is_numeric_dtype(target)
        advice = "Remove or replace it." if typed else "Clean the column, or give --task classification."
        raise StudyError("--task", rule, repr(str(target.to_numpy()[wrong][0])), advice)
    if np.ptp(numbers) == 0:
        raise StudyError("--target", f"column {target.name!r} must vary", f"only {numbers[0]:g}", "Choose another column.")
    return numbers
