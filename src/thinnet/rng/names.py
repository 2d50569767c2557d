"""The parts of an address: the path of a site, its number, and checked steps and sample ids."""

import zlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

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


def check_number(function: str, argument: str, value: int) -> int:
    """Returns a number of 32 bits; refuses any other."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < IDS:
        raise ValueError(f"{function}: {argument} must be an integer in 0 .. 2^32 - 1; got {value!r}.")
    return value


def check_samples(function: str, samples: Tensor | Iterable[int] | int) -> Tensor | int:
    """Returns ids as a 1-d int64 tensor, and a first id as it is."""
    rule = f"{function}: samples must be integers in 0 .. 2^32 - 1, one a row"
    if isinstance(samples, int) and not isinstance(samples, bool):
        if not 0 <= samples < IDS:
            raise ValueError(f"{rule}; got {samples}.")
        return samples
    try:
        ids = samples if isinstance(samples, Tensor) else torch.tensor(list(samples))  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{rule}; got {samples!r}.") from None
    if ids.ndim != 1 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"{rule}; got a tensor of {ids.dtype} and shape {tuple(ids.shape)}.")
    ids = ids.to(torch.int64)
    if ids.device.type == "cpu" and ids.numel() and not (0 <= int(ids.min()) and int(ids.max()) < IDS):
        raise ValueError(f"{rule}; got ids from {int(ids.min())} to {int(ids.max())}.")
    return ids
