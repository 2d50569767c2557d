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


class Compiled:
    """Stands for a kernel: compiles what would be launched, and keeps it."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.made = kernel, None

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*args: Any, **options: Any) -> None:
            args = tuple(MockTensor.wrap_dtype(arg.dtype) if isinstance(arg, Tensor) else arg for arg in args)
            self.made = self.kernel.warmup(*args, grid=(1,), **options)

        return launch


@pytest.mark.parametrize(("capability", "options"), [(80, 0), (90, 0), (90, 1), (100, 0)], ids=str)
def test_the_kernels_compile(capability: int, options: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretended_gpu, "HOPPER", GPUTarget("cuda", capability, 32))
    driver.set_active(pretended_gpu.Driver())
    stand_in = {name: Compiled(kernel) for name, kernel in door.KERNELS.items()}
    monkeypatch.setattr(door, "KERNELS", stand_in)
    q = torch.empty(1, 2, 256, 64, dtype=torch.bfloat16)
    mask = torch.empty(1, 2, 256, 256, dtype=torch.bool) if options else None
    settings = Settings(mask, torch.tensor(9, dtype=torch.int32), torch.tensor(3), *[None] * 9, 0.1, -1, 0, options)
    y, lse = door.attention(q, q, q, *settings)
    door.attention_backward(q, y, lse, q, q, q, *settings, mask is not None)
    names = {"forward_kernel", "queries_kernel", "keys_kernel"} | ({"whole_kernel"} if options else set())
    assert {name for name, kernel in stand_in.items() if kernel.made is not None} == names
    for name in names - {"whole_kernel"}:
        assert "mma" in stand_in[name].made.asm["ptx"]  # products run on tensor cores
