"""A rate: the probability of dropping, checked in one place and counted in 65536ths."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from thinnet.rng.fake import faked, is_faking

RESOLUTION = 65536


def check(function: str, p: object, *, below_one: bool = False) -> float:
    """Returns `p` as a float.

    Args:
        function: the name in the error.
        p: the probability of dropping; a number, or a tensor with one.
        below_one: whether the method is undefined where everything is dropped.

    Raises:
        ValueError: `p` is a bool, not a number, NaN, or outside its domain.
        TypeError: `p` requires grad.

    >>> check("dropout", 1.5)
    Traceback (most recent call last):
    ...
    ValueError: dropout: p must be a number in [0, 1]; got 1.5. It is the probability of dropping.
    """
    if type(p) is float and 0 <= p <= 0.99:  # nearly every call
        return p
    domain = "[0, 1)" if below_one else "[0, 1]"
    rule = f"{function}: p must be a number in {domain}; got {p!r}."
    if isinstance(p, Tensor) and p.requires_grad:
        raise TypeError(f"{function}: p must not require grad; dropout has no derivative in its rate. Pass p.detach().")
    dtype = getattr(p, "dtype", None)
    if isinstance(p, (bool, str, bytes)) or str(dtype) in ("bool", "torch.bool") or (isinstance(p, Tensor) and p.numel() != 1):
        raise ValueError(f"{rule} It is the probability of dropping.")
    try:
        value = float(p)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"{rule} It is the probability of dropping.") from None
    if not 0 <= value <= 1 or (below_one and value == 1):
        hint = " A percentage is divided by 100." if 1 < value <= 100 else ""
        raise ValueError(f"{rule} It is the probability of dropping.{hint if value >= 2 else ''}")
    return value


def several(p: object) -> bool:
    """Returns whether `p` holds several rates instead of one.

    >>> several(0.5), several([0.1, 0.9]), several(torch.tensor([0.1, 0.9])), several(torch.tensor([0.1]))
    (False, True, True, False)
    """
    if isinstance(p, (list, tuple)):
        return True
    shape = getattr(p, "shape", ())
    return bool(shape) and math.prod(shape) != 1


def each(function: str, p: Any, device: torch.device) -> Tensor:
    """Returns several rates in 65536ths, int32. In compiled code, and of a GPU tensor, they are clamped to [0, 1], unchecked.

    >>> each("dropout", [0.25, 0.5], torch.device("cpu"))
    tensor([16384, 32768], dtype=torch.int32)
    """
    if isinstance(p, Tensor) and p.requires_grad:
        raise TypeError(f"{function}: p must not require grad; dropout has no derivative in its rates. Pass p.detach().")
    given = torch.empty(0)
    try:
        given = p if isinstance(p, Tensor) else torch.as_tensor(p)
        numbers = given.dtype != torch.bool and not given.is_complex() and given.numel() > 0
    except (TypeError, ValueError, RuntimeError):
        numbers = False
    if numbers and not is_compiling() and not is_faking() and given.device.type == "cpu":
        numbers = bool(torch.logical_and(given >= 0, given <= 1).all())
    if not numbers:
        raise ValueError(f"{function}: p must be numbers in [0, 1]; got {p!r}. They are probabilities of dropping.")
    return counted(faked(given).to(device))


def count(p: float) -> int:
    """Returns the rate in 65536ths, to nearest, ties to even. Random bits below it drop their unit.

    A rate below 1 never counts as 1, which keeps nothing and so has no expectation.

    >>> count(0.3), count(1.0), count(1 - 1e-6)
    (19661, 65536, 65535)
    """
    return min(round(p * RESOLUTION), RESOLUTION - (p < 1))


def counted(p: Tensor) -> Tensor:
    """Returns rates in 65536ths, int32, as `count` does; clamped to [0, 1].

    >>> counted(torch.tensor([0.25, 1 - 1e-6, 1.0])).tolist()
    [16384, 65535, 65536]
    """
    found = (p.double() * RESOLUTION).round().clamp(0, RESOLUTION)
    return (found - ((found == RESOLUTION) & (p < 1)).to(found.dtype)).to(torch.int32)


_constants: dict[tuple[int, torch.device], Tensor] = {}


def tensor(p: float, device: torch.device) -> Tensor:
    """Returns a rate as the 0-d int32 tensor that the kernels read; shared, so nobody may write to it."""
    counted = count(p)
    if is_compiling() or is_faking():
        return torch.full((), counted, dtype=torch.int32, device=device)
    key = counted, device
    if key in _constants:
        return _constants[key]
    with torch.inference_mode(False):  # an inference tensor could not be saved for backward later
        constant = torch.full((), counted, dtype=torch.int32, device=device)
    capturing = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    if type(constant) is Tensor and not capturing:  # memory of a CUDA graph may not be kept
        _constants[key] = constant
    return constant
