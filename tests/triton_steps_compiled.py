"""What test_triton.py runs without a GPU: the kernels of a training step compiled for several, and their instructions."""

import re
from collections.abc import Callable
from typing import Any

import pretended_gpu
import pytest
import torch
from test_fused import where
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import MockTensor

from thinnet.ops.triton import fused, kept, take, units
from thinnet.ops.triton import launch as door
from thinnet.ops.triton.launch import Plan

Run = Callable[[torch.dtype], Any]
IDS = torch.arange(3)


def x_of(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.empty(shape or (3, 1024), dtype=dtype)


def chain(dtype: torch.dtype) -> None:
    x = x_of(dtype)
    fused.fused(x, None, x[0], None, x, 0, *where())


def gated(dtype: torch.dtype) -> None:
    x = x_of(dtype)
    fused.fused(x, None, None, x, None, 4, *where(IDS))


def embedded(dtype: torch.dtype) -> None:
    fused.fused(x_of(dtype), IDS, x_of(dtype), None, None, 0, *where(IDS))


def activated(dtype: torch.dtype) -> None:
    x = x_of(dtype)
    fused.fused_backward(x, x, None, None, 2, *where())


def positive(dtype: torch.dtype) -> None:
    x = x_of(dtype)
    fused.fused_backward(x, x, None, None, 5, *where())


def norm(dtype: torch.dtype) -> None:
    x = x_of(dtype)
    fused.fused_norm(x, x, x[0], x[0], 1e-5, False, *where(IDS))


def norm_backward(dtype: torch.dtype) -> None:
    x = x_of(dtype)
    fused.fused_norm_backward(x, x, x, x[0], 1e-5, False, *where())


def odd_norm(dtype: torch.dtype) -> None:
    x = x_of(dtype, 3, 1000)
    fused.fused_norm_backward(x, None, x, None, 1e-5, True, *where(IDS))


def features(dtype: torch.dtype) -> None:
    rate = torch.rand(1024).expand(3, 5, 1024)
    units.select_units(x_of(dtype, 3, 5, 1024), rate, rate, 0, *where(IDS)[1:])


def channels(dtype: torch.dtype) -> None:
    rate = torch.rand(64, 1, 1).expand(3, 64, 14, 14)
    units.select_units(x_of(dtype, 3, 64, 14, 14), rate, rate, 0, *where()[1:])


def rates_of_samples(dtype: torch.dtype) -> None:
    rate = torch.rand(3, 1).expand(3, 1000)
    units.select_units(x_of(dtype, 3, 1000), rate, rate, 1, *where(IDS)[1:])


def factors(dtype: torch.dtype) -> None:
    units.scale_units(x_of(dtype, 3, 5, 1024), torch.rand(5, 1024).expand(3, 5, 1024))


def normal(dtype: torch.dtype) -> None:
    x, scale = x_of(dtype, 3, 5, 1024), torch.rand(1024).expand(3, 5, 1024)
    units.gaussian_units(x, scale, *where(IDS)[1:])
    units.add_gaussian(x, scale, *where()[1:])


def squares(dtype: torch.dtype) -> None:
    units.drop_blocks(x_of(dtype, 3, 64, 32, 32), torch.ones(32, 32), 5000, [7, 7], False, *where(IDS)[1:])


def long_lines(dtype: torch.dtype) -> None:
    units.drop_blocks(x_of(dtype, 3, 4, 3000), torch.ones(3000), 5000, [50], True, *where()[1:])


def parts(dtype: torch.dtype) -> None:
    x, places = x_of(dtype, 1024, 1024, 1), torch.arange(512)[None]
    part = take.take(x, places, places)
    take.put(part, places, places, 1024, 1024)


def rows_of_parts(dtype: torch.dtype) -> None:
    x, places = x_of(dtype, 1024, 1024, 1), torch.arange(512)[None]
    take.take(x, places, None)


def filters(dtype: torch.dtype) -> None:
    x, places = x_of(dtype, 64, 64, 9), torch.stack([torch.arange(32)] * 2)
    take.put(take.take(x, None, places), None, places, 64, 64)


def smallest(dtype: torch.dtype) -> None:
    kept.smallest(torch.rand(4, 4097), 2048, 2048, 0.0)


def ones(dtype: torch.dtype) -> None:
    """Sizes of one are constants for the compiler."""
    x, at, place = x_of(dtype, 1, 1), where(torch.arange(1)), torch.zeros(1, 1, dtype=torch.int64)
    fused.fused(x, place[0], x[0], x, x, 2, *at)
    fused.fused_backward(x, x, x[0], x, 2, *at)
    fused.fused_norm(x, x, x[0], x[0], 1e-5, False, *at)
    fused.fused_norm_backward(x, x, x, x[0], 1e-5, False, *at)
    units.select_units(x, x.float(), x.float(), 1, *at[1:])
    units.scale_units(x, x.float())
    units.gaussian_units(x, x.float(), *at[1:])
    units.drop_blocks(x_of(dtype, 1, 1, 1), torch.ones(1), 1, [1], False, *at[1:])
    take.put(take.take(x[..., None], place, place), place, place, 1, 1)
    kept.smallest(torch.rand(1, 2), 1, 1, 0.0)


WIDE = (chain, gated, embedded, activated, positive, norm, norm_backward, features, channels, factors, normal, rows_of_parts)
RUNS = (*WIDE, odd_norm, rates_of_samples, squares, long_lines, parts, filters, smallest, ones)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Compiles what a run would launch."""

    def compile_for(run: Run, dtype: torch.dtype, capability: int = 90) -> list[Any]:
        monkeypatch.setattr(pretended_gpu, "HOPPER", GPUTarget("cuda", capability, 32))
        driver.set_active(pretended_gpu.Driver())
        found = []

        def launch(tensors: Any, layout: Any, plan: Callable[[], Plan]) -> None:
            kernel, _, numbers, constants, warps = plan()
            # later launches pass all arguments by position
            assert list(constants) == kernel.arg_names[len(tensors) + len(numbers) :]
            args = [MockTensor.wrap_dtype(each.dtype) if isinstance(each, Tensor) else each for each in tensors]
            options = door.COMPILED | ({"num_warps": warps} if warps else {})
            found.append(kernel.warmup(*args, *numbers, grid=(1,), **constants, **options))

        for module in (fused, kept, take, units):
            monkeypatch.setattr(module, "launch", launch)
        run(dtype)
        assert found
        return found

    return compile_for


@pytest.mark.parametrize("capability", [80, 90, 100])
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_every_kernel_compiles(run: Run, capability: int, compiled: Callable[..., list[Any]]) -> None:
    compiled(run, torch.bfloat16, capability)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("run", WIDE, ids=lambda run: run.__name__)
def test_memory_is_read_and_written_in_vectors(run: Run, dtype: torch.dtype, compiled: Callable[..., list[Any]]) -> None:
    for kernel in compiled(run, dtype):
        assert re.search(r"ld\.global[\w.]*\.v[248]\.b32", kernel.asm["ptx"])
        assert re.search(r"st\.global[\w.]*\.v[248]\.b32", kernel.asm["ptx"])


def test_products_and_sums_are_not_fused(compiled: Callable[..., list[Any]]) -> None:
    for run in (chain, norm):
        (kernel,) = compiled(run, torch.bfloat16)
        assert not re.search(r"\bfma\.rn|\bmad\.\w+\.f|\.ftz", kernel.asm["ptx"])


def test_one_block_serves_eight_units(compiled: Callable[..., list[Any]]) -> None:
    (kernel,) = compiled(chain, torch.float32)
    elements = door.TILE_BYTES // 4 // 128
    assert len(re.findall(r"mul\.hi\.u32", kernel.asm["ptx"])) <= 14 * elements // 8
    (kernel,) = compiled(norm, torch.float32)
    assert len(re.findall(r"mul\.hi\.u32", kernel.asm["ptx"])) <= 14 * fused.THREAD // 8
