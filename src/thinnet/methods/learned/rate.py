"""Learned rates: checks, and the precision of their computation."""

import math

import torch
from torch import Tensor

from thinnet import ops
from thinnet.methods import call
from thinnet.methods.numbers import wide
from thinnet.rng import NoiseKey, rates


def logit(function: str, p: object) -> float:
    """Returns log(p / (1 - p)) of an initial rate, or raises a ValueError.

    >>> logit("ConcreteDropout", 0.5)
    0.0
    """
    value = within(function, "p", rates.check(function, p), 1.0)
    return math.log(value) - math.log1p(-value)


def within(function: str, argument: str, value: object, most: float, closed: bool = False) -> float:
    """Returns a number above 0 and below `most`, or at most that if `closed`; or raises a ValueError."""
    number = math.nan if isinstance(value, bool) or not isinstance(value, (int, float)) else value
    if not (0 < number < most or (closed and number == most)):
        domain = f"(0, {most:g}{']' if closed else ')'}"
        raise ValueError(f"{function}: {argument} must be a number in {domain}; got {value!r}. Learning starts from it.")
    return number


def draw_key(
    function: str, x: Tensor, p: float | Tensor, most: float, training: bool, generator: torch.Generator | None
) -> tuple[NoiseKey, Tensor] | None:
    """Returns the noise key of one call and its number as a tensor that may require grad; None without noise.

    Raises a ValueError if a number is not in [0, most), but not for numbers on other devices and in compiled code, where the
    check would wait for the device. Raises a TypeError if `x` is no dense tensor of floating-point or complex numbers.
    """
    ops.check_input(x, function)
    if not isinstance(p, Tensor):
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < most:
            raise ValueError(f"{function}: the number after x must be in [0, {most:g}); got {p!r}. It sets the noise.")
        number = torch.full((), p, dtype=wide(x), device=x.device)
    else:
        if not torch.compiler.is_compiling() and p.device.type == "cpu" and not bool(((p >= 0) & (p < most)).all()):
            raise ValueError(f"{function}: the numbers after x must be in [0, {most:g}); got {p!r}. They set the noise.")
        number = p.to(x.device, wide(x))
    if not isinstance(p, Tensor) and p == 0:
        return None
    key = call.draw_key(function, x, 0.5, training, generator)  # the rate is not used
    return None if key is None else (key, number)
