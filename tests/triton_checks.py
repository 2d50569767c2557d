"""What test_triton.py runs with TRITON_INTERPRET=1: every kernel against the reference, bit by bit."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pretended_gpu
import pytest
import torch
import triton
import triton.language as tl
from assertions import assert_same_bits
from test_backends import DTYPES, allowed, count, dense, layouts, noise_shapes, sample_ids
from test_bits import known_answers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from thinnet.ops import NoiseKind, apply_noise, gpu, schema
from thinnet.ops.triton import bits
from thinnet.ops.triton import launch as door

SHAPES = ((1,), (300,), (3, 130), (33, 5), (2, 3, 2, 33), (0, 3))


@triton.jit
def _words_kernel(counter, key, out):
    c0, c1, c2, c3 = tl.load(counter), tl.load(counter + 1), tl.load(counter + 2), tl.load(counter + 3)
    words = bits.words(c0.to(tl.uint32), c1.to(tl.uint32), c2.to(tl.uint32), c3.to(tl.uint32), tl.load(key))
    for j in tl.static_range(4):
        tl.store(out + j, words[j].to(tl.int64))


@pytest.mark.parametrize("answer", known_answers(), ids=lambda a: f"{a[0]:08x}")
def test_known_answers(answer: list[int]) -> None:
    key = torch.from_numpy(np.array([answer[4] | answer[5] << 32], dtype=np.uint64).view(np.int64))
    out = torch.zeros(4, dtype=torch.int64)
    _words_kernel[(1,)](torch.tensor(answer[:4]), key, out)
    assert out.tolist() == answer[6:]


def both(x: Tensor, rate: int, **where: Any) -> list[tuple[Tensor, Tensor]]:
    """The result and its gradient, by the kernels and by the reference."""
    x = x.detach().requires_grad_()
    weight, found = torch.randn_like(x), []
    for path in ("triton", "reference"):
        y = apply_noise(x, count(rate), torch.tensor(-77), backend=path, **where)
        found.append((y.detach(), torch.autograd.grad(y, x, weight)[0]))
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_forward_and_backward_give_the_bits_of_the_reference(dtype: torch.dtype) -> None:
    for number, (shape, kind) in enumerate(itertools.product(SHAPES, NoiseKind)):
        for x, shared_axes in itertools.product(layouts(shape, dtype).values(), noise_shapes(shape)):
            number += 1
            rate, ids = (0, 19661, 65536, 30000)[number % 4], sample_ids(shape)[number % 3]
            if not allowed(kind, rate, dtype):
                continue
            step, site = (torch.tensor(9), torch.tensor(2**32 - 5)) if ids is not None else (None, None)
            ours, theirs = both(x, rate, step=step, site=site, samples=ids, shared_axes=shared_axes, kind=kind)
            assert_same_bits(ours[0], theirs[0])
            assert_same_bits(dense(ours[1]), dense(theirs[1]))  # autograd may lay a gradient out anew


@pytest.mark.parametrize("shape", [(40, 128), (3, 100), (2, 5000), (4, 20, 49), (1, 2, 3000)], ids=str)
def test_every_kernel_at_every_place_of_a_row(shape: tuple[int, ...]) -> None:
    """Whole segments, rows that begin or end inside one, runs longer than a program; a shard that begins anywhere."""
    x = torch.randn(shape)
    for shared_axes, ids, kind in itertools.product(((), (2,)[: x.ndim - 2]), sample_ids(shape), NoiseKind):
        assert_same_bits(*(pair[0] for pair in both(x, 30000, shared_axes=shared_axes, samples=ids, kind=kind)))
    whole = apply_noise(torch.cat([x.flatten()] * 2), count(30000), torch.tensor(3))
    where = torch.tensor(3), None, None, None
    for begin in (1, 64, 127, 128, 131):
        part = torch.cat([x.flatten()] * 2)[begin : begin + 300]
        assert_same_bits(door.apply_noise(part, count(30000), *where, [1, begin], 0), whole[begin : begin + 300])


def test_every_half_and_bfloat_is_read_and_rounded_as_pytorch_does() -> None:
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16)
    for dtype, kind in itertools.product((torch.float16, torch.bfloat16), NoiseKind):
        ours, theirs = (
            apply_noise(bits.view(dtype), count(6554), torch.tensor(3), kind=kind, backend=path)
            for path in ("triton", "reference")
        )
        assert_same_bits(ours, theirs)


def test_noise_to_its_tails() -> None:
    ours, theirs = both(torch.ones(1 << 16, dtype=torch.float64), 32768, kind=NoiseKind.GAUSSIAN)
    assert_same_bits(ours[0], theirs[0])


def test_ids_of_any_strides() -> None:
    x, ids = torch.randn(7, 130), torch.arange(21) + (2**32 - 9)
    for samples in (ids[::3], ids[:1].expand(7), ids[5:6]):
        assert_same_bits(*(pair[0] for pair in both(x, 30000, samples=samples)))


def test_in_place_writes_the_same_bits() -> None:
    for dtype, kind, shared_axes in itertools.product((torch.float32, torch.bfloat16), NoiseKind, ((), (2, 3))):
        for name, x in layouts((3, 4, 2, 33), dtype).items():
            if name == "expanded":
                continue
            where: dict[str, Any] = dict(shared_axes=shared_axes, kind=kind, backend="triton")
            expected, strides = apply_noise(x, count(19661), torch.tensor(3), **where), x.stride()
            y = apply_noise(x, count(19661), torch.tensor(3), inplace=True, **where)
            assert y is x and x.stride() == strides
            assert_same_bits(dense(x), dense(expected))


def test_axes_that_continue_each_other_are_one() -> None:
    shape, strides = (2, 3, 4, 5), (60, 20, 5, 1)
    assert [tuple(axis) for axis in door.axes_of((shape, strides, strides, strides), False)] == [(120, 1, 1, 1, 0)]
    with_ids = door.axes_of((shape, strides, strides, (0, 20, 5, 1)), True)
    assert [tuple(axis) for axis in with_ids] == [(2, 60, 60, 0, 1), (60, 1, 1, 1, 0)]
    channels = door.axes_of((shape, strides, strides, (3, 1, 0, 0)), False)
    assert [tuple(axis) for axis in channels] == [(6, 20, 20, 1, 0), (20, 1, 1, 0, 0)]


GENERATED = {  # shape, dtype, units, first unit
    "rows inside a segment": ((3, 130), torch.float32, [0, 1, 0]),
    "any first unit": ((3, 130), torch.float16, [0, 1, 3 * 128 + 77]),
    "channels": ((3, 40, 5, 6), torch.float32, [0, 1, 0, 0, 0]),
    "units turned around": ((3, 5, 64), torch.float64, [0, 1, 5, 0]),
    "shared by rows": ((3, 4, 64), torch.float16, [0, 0, 1, 0]),
}


@pytest.mark.parametrize("case", GENERATED)
def test_the_code_that_the_compiler_makes_of_noise_draws_the_same_bits(case: str, tmp_path: Path) -> None:
    shape, dtype, units = GENERATED[case]
    x, rate, seed, site = torch.randn(shape).to(dtype), count(30000), torch.tensor(-77), torch.tensor(2**32 - 5)
    for step, ids in ((torch.tensor(9), torch.tensor([5, 2**32 - 1, 7])), (torch.tensor([1, 2, 3]), None)):
        inputs = (x, rate, seed, step, site) if ids is None else (x, rate, seed, step, site, ids)

        def noised(x: Tensor, *where: Tensor) -> Tensor:
            samples = where[4] if len(where) > 4 else None
            return schema.op(x, *where[:4], samples, units, 0)

        code = pretended_gpu.generated(noised, *inputs)
        assert_same_bits(dense(pretended_gpu.run(code, tmp_path, *inputs)[0]), noised(*inputs))  # inside, rows may be padded


def test_a_kernel_is_called_alone_where_nothing_watches_and_memory_holds_the_numbers() -> None:
    x = torch.randn(3, 130)
    assert gpu.alone(x) and gpu.alone(x.t())
    others = torch.randn(3, dtype=torch.complex64).conj().imag, torch._efficientzerotensor(3), nn.Parameter(x)
    assert not any(map(gpu.alone, others))
    for watching in (torch.profiler.profile(), TorchDispatchMode(), TorchFunctionMode()):
        with watching:
            assert not gpu.alone(x)
    assert gpu.alone(x)
