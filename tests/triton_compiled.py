"""What test_triton.py runs without a GPU: the kernels compiled for one, and what must and must not be in their instructions."""

import re
from pathlib import Path
from typing import Any

import pretended_gpu
import pytest
import torch
from test_backends import count
from torch import Tensor
from triton.runtime import driver
from triton.runtime.jit import MockTensor

from thinnet.ops import NoiseKind, schema
from thinnet.ops.arguments import unit_strides
from thinnet.ops.triton import kernels
from thinnet.ops.triton import launch as door


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
    driver.set_active(pretended_gpu.Driver())
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


@pytest.mark.parametrize("case", ["segments", "addressed", "runs"])
def test_compiled_code_draws_a_unit_in_eight_instructions_and_reads_it_in_eighteen(case: str, tmp_path: Path) -> None:
    shape, shared_axes, samples = CASES[case]
    x, key = torch.empty(shape, dtype=torch.bfloat16), (count(5), torch.tensor(3), torch.tensor(9))
    units = [*unit_strides(shape, shared_axes, samples is not None), 0]

    def noised(x: Tensor, rate: Tensor, seed: Tensor, step: Tensor, *samples: Tensor) -> Tensor:
        return schema.op(x + 1, rate, seed, step, None, *(samples or (None,)), units, 0) * 2

    code = pretended_gpu.generated(noised, x, *key, *(() if samples is None else (samples,)))
    (drawn, drawing), (read, reading) = pretended_gpu.instructions(code, tmp_path).values()  # and nothing else is launched
    assert drawn / 32 < 8 and read < 20  # the sum, the product, and the load and store of a copy are two
    assert drawing.metadata.shared == reading.metadata.shared == 0


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
        where = count(5), torch.tensor(3), None, None, samples, units, 0
        for _ in range(2):
            door.apply_noise_(x, *where)
        first, second = calls[-2:]
        assert first["x"] is x
        assert {name: v.data_ptr() if isinstance(v, Tensor) else v for name, v in first.items()} == second
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
