"""The parts of an address: the path of a site, its number, and checked steps and sample ids."""

import operator
import zlib
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.rng.fake import is_faking
from thinnet.rng.mapped import is_mapped

IDS = 1 << 32


def site_number(name: str) -> int:
    """Returns the 32-bit number of a site's name: the CRC-32 of its UTF-8 bytes, the same on every machine.

    >>> site_number("encoder.3")
    4119366531
    """
    return zlib.crc32(name.encode())


WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}


def unwrap(model: nn.Module) -> nn.Module:
    """Returns the model inside data parallelism and `torch.compile`."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def plain(name: str) -> str:
    """Returns a module path without the wrappers in it.

    >>> plain("blocks.0._orig_mod.drop")
    'blocks.0.drop'
    """
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def check_number(function: str, argument: str, value: object, size: int = 32) -> int:
    """Returns an integer of `size` bits, also one of NumPy or in a tensor; refuses anything else.

    >>> check_number("DropoutRNG.at", "step", torch.tensor(3))
    3
    """
    number = integer(value)
    if number is None or not 0 <= number < 1 << size:
        raise ValueError(f"{function}: {argument} must be an integer in 0 .. 2^{size} - 1; got {value!r}.")
    return number


def check_module(function: str, model: object) -> nn.Module:
    """Returns a module; refuses anything else."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"{function}: model must be a torch.nn.Module; got {type(model).__name__}.")
    return model


def check_shape(function: str, shape: Any) -> tuple[int, ...]:
    """Returns the shape of a sample's units as integers; refuses anything else."""
    sizes = tuple(map(integer, shape)) if isinstance(shape, (tuple, list)) else (None,)
    if any(size is None or size < 0 for size in sizes):
        raise ValueError(f"{function}: shape must be a tuple of integers; got {shape!r}. It is that of one sample, as (256,).")
    return sizes  # type: ignore[return-value]


def integer(value: object) -> int | None:
    """Returns one integer as Python's; None for anything else, such as a bool."""
    if isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool"):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # a tensor of several numbers raises the others
        return None


def check_samples(function: str, samples: Any) -> Tensor | int:
    """Returns ids as a 1-d int64 tensor, and a first id as it is."""
    rule = f"{function}: samples must be integers in 0 .. 2^32 - 1, one a row"
    if isinstance(samples, Tensor) and is_mapped(samples):
        return _mapped(rule, samples)
    first = integer(samples)
    if first is not None and not getattr(samples, "ndim", 0):
        if not 0 <= first < IDS:
            raise ValueError(f"{rule}; got {first}.")
        return first
    try:
        ids = samples if isinstance(samples, Tensor) else torch.tensor(list(samples))
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{rule}; got {samples!r}.") from None
    if ids.ndim != 1 or not _integers(ids):
        raise ValueError(f"{rule}; got a tensor of {ids.dtype} and shape {tuple(ids.shape)}.")
    ids = ids.to(torch.int64)
    if is_faking():  # fake ids have no numbers
        return ids
    if ids.device.type == "cpu" and ids.numel() and not (0 <= int(ids.min()) and int(ids.max()) < IDS):
        raise ValueError(f"{rule}; got ids from {int(ids.min())} to {int(ids.max())}.")
    return ids


def check_rows(function: str, first: int, rows: int) -> None:
    """Refuses rows that count on from a first id beyond the last one."""
    if first + rows > IDS:
        rule = "samples must be integers in 0 .. 2^32 - 1, one a row"
        raise ValueError(f"{function}: {rule}; got {rows} rows from {first} on. Give rng.at the id of each row.")


def _mapped(rule: str, ids: Tensor) -> Tensor:
    """Returns the ids of one index of `torch.func.vmap`, whose values nobody can check."""
    if ids.ndim > 1 or not _integers(ids):
        raise ValueError(f"{rule}; got a tensor of {ids.dtype} and shape {tuple(ids.shape)} inside torch.func.vmap.")
    return ids.reshape(-1).to(torch.int64)


def _integers(ids: Tensor) -> bool:
    return not ids.is_floating_point() and not ids.is_complex() and ids.dtype != torch.bool
