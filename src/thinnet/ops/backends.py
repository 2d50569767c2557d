"""Which path serves which device: no slow path is taken in silence."""

import torch

from thinnet.ops import schema


def backends() -> dict[str, str]:
    """Returns the path that tosses coins on each kind of device.

    `avx512`, `avx2`, `baseline` and `neon` are the C++ kernels, chosen for this processor; `reference` is plain PyTorch:
    the same bits, at the price of some hundred operations. `why()` says why a kernel is missing.

    >>> sorted(backends())
    ['cpu', 'cuda', 'mps', 'xpu']
    """
    cpu = "reference" if schema.missing else torch.ops.thinnet.cpu_path("auto")
    return {"cpu": cpu, "cuda": "reference", "mps": "reference", "xpu": "reference"}


def why() -> str | None:
    """Returns why the CPU is served by the reference, or None where it is not."""
    return schema.missing
