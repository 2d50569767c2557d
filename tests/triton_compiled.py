"""What test_triton.py runs without a GPU: the kernels compiled for one, and what must and must not be in their instructions."""

import re
from typing import Any

import pytest
import torch
from test_backends import count
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import MockTensor

from thinnet.ops import NoiseKind
from thinnet.ops.arguments import unit_strides
from thinnet.ops.triton import kernels
from thinnet.ops.triton import launch as door

HOPPER = GPUTarget("cuda", 90, 32)


class Driver:
    """As much of a GPU as Triton asks for to compile."""

    def get_current_device(self) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return HOPPER

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def __getattr__(self, name: str) -> Any:
        return lambda *args: 0


class Compiled:
    """Stands for the kernels: compiles what would be launched, and keeps it."""

    def __init__(self) -> None:
        self.last: tuple[str, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        def launch(*args: Any, **options: Any) -> None:
            args = tuple(MockTensor.wrap_dtype(arg.dtype) if isinstance(arg, Tensor) else arg for arg in args)
            self.last = name, getattr(kernels, name).warmup(*args, grid=(1,), **options)

        return type("Launcher", (), {"__getitem__": lambda self, grid: launch})()


def compiled(x: Tensor, monkeypatch: pytest.MonkeyPatch, shared_axes: tuple[int, ...] = (), **where: Any) -> tuple[str, Any]:
    """The kernel that serves a call, and its name."""
    driver.set_active(Driver())
    stand_in = Compiled()
    monkeypatch.setattr(door, "kernels", stand_in)
    samples, kind = where.get("samples"), where.get("kind", NoiseKind.INVERTED)
    units = [*unit_strides(x.shape, shared_axes, samples is not None), 0]
    step = torch.tensor(9) if samples is not None else None
    door.apply_noise(x, count(5), torch.tensor(3), step, step, samples, units, int(kind))
    assert stand_in.last is not None
    return stand_in.last


CASES = {
    "segments": ((1 << 20,), (), None),
    "addressed": ((64, 1024), (), torch.arange(64)),
    "runs": ((8, 16, 56, 56), (2, 3), torch.tensor([3])),
    "strided": ((8, 16, 5), (), None),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("kind", NoiseKind, ids=lambda kind: kind.name)
def test_products_and_sums_are_not_fused_nor_flushed(
    kind: NoiseKind, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, kernel = compiled(torch.empty(4096, dtype=dtype), monkeypatch, kind=kind)
    code = kernel.asm["ptx"]
    assert not re.search(r"\bfma\.|\bmad\.\w+\.f|\.ftz|\.approx|div\.full", code)
    assert kind == NoiseKind.INVERTED or "sqrt.rn.f32" in code


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("case", ["segments", "addressed", "runs"])
def test_the_kernels_that_a_compiler_sees_have_nothing_to_fuse(
    case: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, shared_axes, samples = CASES[case]
    monkeypatch.setattr(door, "COMPILED", {"num_warps": 4})  # torch.compile cannot turn fused multiply-adds off
    _, kernel = compiled(torch.empty(shape, dtype=dtype), monkeypatch, shared_axes=shared_axes, samples=samples)
    assert not re.search(r"\bfma\.|\bmad\.\w+\.f", kernel.asm["ptx"])


def test_a_second_launch_calls_the_compiled_kernel_with_the_arguments_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    class Kernel:
        """Stands for a kernel: its first launch compiles it, later ones call what was compiled."""

        def __init__(self, name: str) -> None:
            self.names = getattr(kernels, name).arg_names

        def __getitem__(self, grid: Any) -> Any:
            def launch(*args: Any, **options: Any) -> Any:
                options = {name: value for name, value in options.items() if name in self.names}
                calls.append({"grid": grid[0]} | dict(zip(self.names, args, strict=False)) | options)
                return self

            return launch

    stand_in = type("Kernels", (), {"__getattr__": lambda self, name: Kernel(name)})()
    monkeypatch.setattr(door, "kernels", stand_in)
    monkeypatch.setattr(door, "_launches", {})
    for shape, shared_axes, samples in CASES.values():
        x = torch.empty(shape)
        units = [*unit_strides(x.shape, shared_axes, samples is not None), 0]
        for _ in range(2):
            door.apply_noise_(x, count(5), torch.tensor(3), None, None, samples, units, 0)
        first, second = calls[-2:]
        assert first.keys() == second.keys() and first["x"] is second["x"] is x
        assert [v for v in first.values() if not isinstance(v, Tensor)] == [
            v for v in second.values() if not isinstance(v, Tensor)
        ]
    assert len(door._launches) == len(CASES)
    door.apply_noise_(x[1:], count(5), torch.tensor(3), None, None, None, [], 0)
    assert len(door._launches) == len(CASES) + 1  # another layout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_memory_is_read_and_written_as_wide_as_can_be(case: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, shared_axes, samples = CASES[case]
    x = torch.empty(shape, dtype=dtype)
    x = x.transpose(0, 2) if case == "strided" else x
    name, kernel = compiled(x, monkeypatch, shared_axes=shared_axes, samples=samples)
    assert name == {"addressed": "segments"}.get(case, case) + "_kernel"
    assert kernel.metadata.shared == 0  # every thread keeps the bits that it draws
    if case != "strided":
        assert re.search(r"ld\.global[\w.]*\.v4\.b32", kernel.asm["ptx"])
        assert re.search(r"st\.global[\w.]*\.v4\.b32", kernel.asm["ptx"])


def test_one_block_serves_eight_units(monkeypatch: pytest.MonkeyPatch) -> None:
    _, kernel = compiled(torch.empty(1 << 20), monkeypatch)
    elements = door.TILE_BYTES // 4 // 128  # of one of the 128 threads
    assert len(re.findall(r"mul\.hi\.u32", kernel.asm["ptx"])) <= 14 * elements // 8
