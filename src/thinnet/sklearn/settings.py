"""The parameters of the estimators: their rules."""

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

FEWEST_CALIBRATION_ROWS, MOST_CALIBRATION_ROWS = 20, 2000
"""With fewer rows calibration is off; more would not make it better."""


def widths(owner: str, hidden: Any) -> tuple[int, ...]:
    """Returns the widths of the hidden layers.

    Raises:
        ValueError: a width is not a positive integer.
    """
    if isinstance(hidden, str):
        raise ValueError(f"{owner}: hidden_layer_sizes must be the widths of the layers; got {hidden!r}. Use (128, 128).")
    found = tuple(hidden) if hasattr(hidden, "__iter__") else (hidden,)
    return tuple(count(owner, "hidden_layer_sizes", each) for each in found)


def count(owner: str, name: str, value: Any, least: int = 1) -> int:
    """Returns an integer of at least `least`.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{owner}: {name} must be an integer of at least {least}; got {value!r}. Use {max(least, 10)}.")
    return int(value)


def flag(owner: str, name: str, value: Any) -> bool:
    """Returns True or False.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{owner}: {name} must be True or False; got {value!r}. Use True.")
    return bool(value)


def number(owner: str, name: str, value: Any, low: float, high: float = math.inf, open_low: bool = False) -> float:
    """Returns a number in [low, high), or above `low` where that end is open.

    Raises:
        ValueError: it is out of range.
    """
    known = isinstance(value, Real) and not isinstance(value, bool)
    if not known or not low <= float(value) < high or (open_low and float(value) == low):
        start = "(" if open_low else "["
        raise ValueError(f"{owner}: {name} must be a number in {start}{low:g}, {high:g}); got {value!r}. See its description.")
    return float(value)


def batch_size(owner: str, value: Any, rows: int) -> int:
    """Returns the batch size; "auto" is a twentieth of the rows, between 32 and 256.

    Example:
        >>> batch_size("DropoutClassifier", "auto", 2000), batch_size("DropoutClassifier", 64, 10)
        (100, 10)
    """
    wanted = min(max(rows // 20, 32), 256) if isinstance(value, str) and value == "auto" else count(owner, "batch_size", value)
    return min(wanted, rows)


def groups(owner: str, thin: Any, method: str, dropout: Any, batch: int) -> int:
    """Returns the groups of thinned execution; 0 without it.

    Raises:
        ValueError: `thin` is no number of groups, or cannot be combined with the method or a schedule.
    """
    if thin is False:
        return 0
    if thin is not True and (not isinstance(thin, Integral) or thin < 1):
        raise ValueError(f"{owner}: thin must be True, False or a number of groups; got {thin!r}. Use True.")
    found = 1 if thin is True else int(thin)
    if method != "dropout" or callable(dropout):
        got = f"method={method!r}" if method != "dropout" else "a schedule"
        raise ValueError(f"{owner}: thin must go with method='dropout' at a constant rate; got {got}. Leave thin out.")
    return min(found, batch)


def held_out(owner: str, name: str, share: float, rows: int) -> int:
    """Returns how many rows are held out.

    Raises:
        ValueError: fewer than two rows would be left on a side.
    """
    found = math.ceil(share * rows)
    if min(found, rows - found) < 2:
        rule = f"{name} must leave two rows or more on either side"
        raise ValueError(f"{owner}: {rule}; got {found} of {rows} rows. Use another {name}, or add rows.")
    return found


def calibration_rows(owner: str, calibration: Any, rows: int) -> int:
    """Returns how many rows are held out for calibration; 0 where there are too few."""
    found = int(number(owner, "calibration", calibration, 0.0, 1.0) * rows)
    return 0 if found < FEWEST_CALIBRATION_ROWS else min(found, MOST_CALIBRATION_ROWS)


def device_of(owner: str, device: Any) -> str:
    """Returns the device; "auto" is the accelerator, where there is one.

    Raises:
        ValueError: this machine does not have it.
    """
    if device == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return "cpu" if found is None else found.type
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = (str(error).strip() or "unknown").splitlines()[0][:80]
        raise ValueError(f"{owner}: device must exist here; got {device!r} ({reason}). Use device='cpu'.") from None
    return str(device)
