"""Every path gives the bits of the reference: dtypes, layouts, noise shapes, kinds, thread counts, forward and backward."""

import itertools
import subprocess
import sys

import pytest
import torch
from assertions import assert_same_bits
from torch import Tensor

from thinnet import ops
from thinnet.ops import NoiseKind, apply_noise, backends, build, schema

KERNELS = [] if backends()["cpu"] == "reference" else ["auto", "baseline"]
KERNELS += ["avx2"] if backends()["cpu"] in ("avx512", "avx2") else []
KERNELS += ["avx512"] if backends()["cpu"] == "avx512" else []
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.complex128)
SHAPES = ((1,), (1000,), (5, 130), (3, 4, 5, 6), (2, 70, 9, 3), (300, 33), (0, 3))

each_kernel = pytest.mark.parametrize("kernel", KERNELS)


def count(rate: int) -> Tensor:
    return torch.tensor(rate, dtype=torch.int32)


def dense(x: Tensor) -> Tensor:
    return x.clone(memory_format=torch.contiguous_format)


def layouts(shape: tuple[int, ...], dtype: torch.dtype) -> dict[str, Tensor]:
    """The same shape in every way that memory can hold it."""
    reverse = tuple(range(len(shape) - 1, -1, -1))
    found = {
        "contiguous": torch.randn(shape, dtype=dtype),
        "transposed": torch.randn(shape[::-1], dtype=dtype).permute(reverse),
        "sliced": torch.randn([2 * size for size in shape], dtype=dtype)[(slice(None, None, 2),) * len(shape)],
        "expanded": torch.randn((1, *shape[1:]), dtype=dtype).expand(shape),
    }
    if len(shape) == 4:
        found["channels_last"] = torch.randn(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return found


def noise_shapes(shape: tuple[int, ...]) -> set[tuple[int, ...]]:
    """Shared axes: none, all but the first, all but the first two, or the first."""
    return {(), tuple(range(1, len(shape))), tuple(range(2, len(shape))), (0,)}


def sample_ids(shape: tuple[int, ...]) -> list[Tensor | None]:
    return [None, torch.arange(shape[0]) * 7 + 3, torch.tensor([5])]


def allowed(kind: NoiseKind, rate: int, dtype: torch.dtype) -> bool:
    return not (kind.continuous and rate == 65536) and not (kind == NoiseKind.ALPHA and dtype.is_complex)


@each_kernel
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_forward_and_backward_give_the_bits_of_the_reference(kernel: str, dtype: torch.dtype) -> None:
    for shape, kind, rate in itertools.product(SHAPES, NoiseKind, (0, 19661, 65536)):
        for x, shared_axes, ids in itertools.product(layouts(shape, dtype).values(), noise_shapes(shape), sample_ids(shape)):
            if not allowed(kind, rate, dtype):
                continue
            where = dict(step=torch.tensor(9), site=torch.tensor(2**32 - 5), samples=ids, shared_axes=shared_axes, kind=kind)
            x = x.detach().requires_grad_()
            weight = torch.randn_like(x)
            results = []
            for path in (kernel, "reference"):
                y = apply_noise(x, count(rate), torch.tensor(-77), backend=path, **where)
                results.append((y.detach(), torch.autograd.grad(y, x, weight)[0]))
            assert_same_bits(results[0][0], results[1][0])
            assert_same_bits(dense(results[0][1]), dense(results[1][1]))  # autograd may lay a gradient out anew


@each_kernel
def test_memory_format_is_kept(kernel: str) -> None:
    for name, x in layouts((2, 70, 9, 9), torch.float32).items():
        y = apply_noise(x, count(19661), torch.tensor(3), backend=kernel)
        assert y.stride() == torch.empty_like(x).stride(), name


@each_kernel
def test_special_numbers(kernel: str) -> None:
    special = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-45, -1e-40, 6e-8, 6.1e-5, 65504, 65520, 3.4e38]
    for dtype, kind in itertools.product((torch.float32, torch.float64, torch.bfloat16, torch.float16), NoiseKind):
        x = torch.tensor(special * 40, dtype=torch.float64).to(dtype)
        ours = apply_noise(x, count(30000), torch.tensor(3), kind=kind, backend=kernel)
        assert_same_bits(ours, apply_noise(x, count(30000), torch.tensor(3), kind=kind, backend="reference"))


@each_kernel
def test_every_half_and_bfloat_is_read_and_rounded_as_pytorch_does(kernel: str) -> None:
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16)
    for dtype, rate in itertools.product((torch.float16, torch.bfloat16), (0, 1, 6554, 32768, 65000)):
        x = bits.view(dtype)
        ours = apply_noise(x, count(rate), torch.tensor(3), backend=kernel)
        assert_same_bits(ours, apply_noise(x, count(rate), torch.tensor(3), backend="reference"))


@each_kernel
def test_thread_counts_do_not_matter(kernel: str) -> None:
    before = torch.get_num_threads()
    try:
        for x, kind in itertools.product((*layouts((8, 64, 33, 17), torch.float32).values(), torch.randn(1 << 20)), NoiseKind):
            results = []
            for threads in (1, 2, 5):
                torch.set_num_threads(threads)
                results.append(apply_noise(x, count(20000), torch.tensor(3), kind=kind, backend=kernel))
            assert_same_bits(results[0], results[1])
            assert_same_bits(results[0], results[2])
    finally:
        torch.set_num_threads(before)


@each_kernel
def test_in_place_writes_the_same_bits(kernel: str) -> None:
    for dtype, kind, shared_axes in itertools.product(DTYPES, NoiseKind, ((), (2, 3))):
        if not allowed(kind, 19661, dtype):
            continue
        for name, x in layouts((3, 40, 5, 6), dtype).items():
            if name == "expanded":
                continue
            where = dict(shared_axes=shared_axes, kind=kind, backend=kernel)
            expected, strides = apply_noise(x, count(19661), torch.tensor(3), **where), x.stride()
            y = apply_noise(x, count(19661), torch.tensor(3), inplace=True, **where)
            assert y is x and x.stride() == strides
            assert_same_bits(dense(x), dense(expected))


def test_a_shard_has_its_part_of_the_whole_mask() -> None:
    x = torch.randn(6, 10, 64)
    whole = apply_noise(x, count(30000), torch.tensor(3), samples=torch.arange(6))
    where = torch.tensor(3), None, None, torch.arange(6)
    right = schema.call(x[:, :, 40:].contiguous(), count(30000), *where, [0, 64, 1, 40], 0)
    assert_same_bits(right, whole[:, :, 40:].contiguous())


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(RuntimeError, match="backend must be one that this processor has; got 'sve'"):
        apply_noise(torch.ones(3), count(1), torch.tensor(0), backend="sve")


def test_without_the_kernels_the_reference_serves_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "missing", "the C++ kernels were not built")
    assert ops.backends()["cpu"] == "reference" and "not built" in str(ops.why())


def test_any_other_device_is_served_by_the_reference() -> None:
    keys = torch._C._dispatch_dump("thinnet::apply_noise")
    assert "CompositeExplicitAutograd" in keys
    assert backends()["mps"] == backends()["xpu"] == "reference"
    assert all(ops.why(device) for device in ("mps", "xpu"))
    if not torch.cuda.is_available():
        assert backends()["cuda"] == "reference" and ops.why("cuda")


def test_the_kernels_of_a_gpu_are_imported_when_they_are_needed() -> None:
    code = (
        "import sys, torch, thinnet; thinnet.functional.dropout(torch.ones(3), 0.5, training=True); "
        "print('thinnet.ops.triton.kernels' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_compiled_kernels_are_used_where_they_were_built() -> None:
    assert (schema.missing is None) == bool(build.built())
