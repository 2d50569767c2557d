"""What test_triton.py runs without a GPU: the attention kernels compiled for several."""

from typing import Any

import pretended_gpu
import pytest
import torch
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import MockTensor

from thinnet.ops.attention import Settings
from thinnet.ops.triton import attention as door
from thinnet.ops.triton import attention_kernels


class Compiled:
    """Stands for the kernels: compiles what would be launched, and keeps it."""

    def __init__(self) -> None:
        self.all: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        def launch(*args: Any, **options: Any) -> None:
            args = tuple(MockTensor.wrap_dtype(arg.dtype) if isinstance(arg, Tensor) else arg for arg in args)
            self.all[name] = getattr(attention_kernels, name).warmup(*args, grid=(1,), **options)

        return type("Launcher", (), {"__getitem__": lambda self, grid: launch})()


@pytest.mark.parametrize(("capability", "options"), [(80, 0), (90, 0), (90, 1), (100, 0)], ids=str)
def test_the_kernels_compile(capability: int, options: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretended_gpu, "HOPPER", GPUTarget("cuda", capability, 32))
    driver.set_active(pretended_gpu.Driver())
    stand_in = Compiled()
    monkeypatch.setattr(door, "kernels", stand_in)
    q = torch.empty(1, 2, 256, 64, dtype=torch.bfloat16)
    mask = torch.empty(1, 2, 256, 256, dtype=torch.bool) if options else None
    settings = Settings(mask, torch.tensor(9, dtype=torch.int32), torch.tensor(3), *[None] * 9, 0.1, -1, 0, options)
    y, lse = door.attention(q, q, q, *settings)
    door.attention_backward(q, y, lse, q, q, q, *settings, mask is not None)
    names = {"forward_kernel", "queries_kernel", "keys_kernel"} | ({"whole_kernel"} if options else set())
    assert stand_in.all.keys() == names
    for name in names - {"whole_kernel"}:
        assert "mma" in stand_in.all[name].asm["ptx"]  # products run on tensor cores
