"""Which path serves which device: no slow path is taken in silence."""

import torch

from thinnet.ops import schema


def backends() -> dict[str, str]:
    """Returns the path that tosses coins on each kind of device.

    `avx512`, `avx2`, `baseline` and `neon` are the C++ kernels, chosen for this processor; `reference` is plain PyTorch:
    the same bits, at the price of some hundred operations. `triton` are the kernels of a GPU. `why()` says why a kernel is
    missing.

    >>> sorted(backends())
    ['cpu', 'cuda', 'mps', 'xpu']
    """
    cpu = "reference" if schema.missing else torch.ops.thinnet.cpu_path("auto")
    return {"cpu": cpu, "cuda": "reference" if why("cuda") else "triton", "mps": "reference", "xpu": "reference"}


def why(device: str = "cpu") -> str | None:
    """Returns why a kind of device is served by the reference, or None where it is not."""
    if device == "cpu":
        return schema.missing
    if device != "cuda":
        return "no kernel is written for it"
    return schema.missing_triton or (None if torch.cuda.is_available() else "this machine has no GPU that PyTorch can use")
