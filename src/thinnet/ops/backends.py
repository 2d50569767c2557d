"""Reports which path serves which device, so that a slow path is never a surprise."""

import torch

from thinnet.ops import gpu, schema


def backends() -> dict[str, str]:
    """Returns the path that applies noise on each kind of device.

    `avx512`, `avx2`, `baseline` and `neon` are the C++ kernels, chosen for this processor. `triton` are the GPU kernels.
    `inductor` is dropout as `torch.compile` fuses it with its neighbours; on other devices, compiled code calls the kernel of
    the device. `reference` is plain PyTorch: the same bits from about a hundred operations. `why()` returns why a kernel is
    missing.

    >>> sorted(backends())
    ['cpu', 'cuda', 'cuda, compiled', 'mps', 'xpu']
    """
    cpu = "reference" if schema.missing else torch.ops.thinnet.cpu_path()
    cuda, compiled = ("reference", "reference") if why("cuda") else ("triton", "inductor")
    return {"cpu": cpu, "cuda": cuda, "cuda, compiled": compiled, "mps": "reference", "xpu": "reference"}


def why(device: str = "cpu") -> str | None:
    """Returns why the reference serves a kind of device; None where a kernel does."""
    if device == "cpu":
        return schema.missing
    if not device.startswith("cuda"):
        return "no kernel is written for it"
    return gpu.missing or (None if torch.cuda.is_available() else "this machine has no GPU that PyTorch can use")
