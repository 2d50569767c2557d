"""On a GPU: the bits of the CPU, and what PyTorch expects of an operation there."""

import itertools
from typing import Any

import pytest
import torch
from assertions import assert_same_bits
from test_backends import DTYPES, allowed, count, dense, layouts, noise_shapes, sample_ids
from torch import Tensor, nn

import thinnet
from thinnet.ops import NoiseKind, apply_noise, backends, schema

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")

SHAPES = ((1,), (5, 130), (2, 70, 9, 4), (300, 33), (4, 512), (3, 16, 24, 24), (0, 3))
HALF = 32768


def on_gpu(x: Tensor) -> Tensor:
    """The same tensor with the same strides, whatever holes its memory has."""
    memory = torch.as_strided(x, (x.untyped_storage().nbytes() // x.element_size(),), (1,), 0)
    return memory.cuda().as_strided(x.shape, x.stride(), x.storage_offset())


def both(x: Tensor, rate: int, **where: Any) -> list[tuple[Tensor, Tensor]]:
    """The result and its gradient, on the CPU and on the GPU."""
    weight, found = torch.randn_like(x), []
    for move in (lambda t: t, on_gpu):
        here = move(x.detach()).requires_grad_()
        there = {k: move(v) if isinstance(v, Tensor) else v for k, v in where.items()}
        y = apply_noise(here, move(count(rate)), move(torch.tensor(-77)), **there)
        found.append((y.detach().cpu(), torch.autograd.grad(y, here, move(weight))[0].cpu()))
        assert y.stride() == torch.empty_like(here).stride()
    return found


def test_triton_serves_the_gpu() -> None:
    assert backends()["cuda"] == "triton" and thinnet.ops.why("cuda") is None
    assert "CUDA: registered" in torch._C._dispatch_dump("thinnet::apply_noise")


@pytest.mark.parametrize("kind", NoiseKind, ids=lambda kind: kind.name)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_forward_and_backward_give_the_bits_of_the_cpu(dtype: torch.dtype, kind: NoiseKind) -> None:
    for first, shape in enumerate(SHAPES):
        every = list(itertools.product(layouts(shape, dtype).values(), noise_shapes(shape), sample_ids(shape)))
        for number, (x, shared_axes, ids) in enumerate(every[first % 3 :: 3]):  # the interpreter runs all of them
            rate = (0, 19661, 30000, 65536)[number % 4]
            if not allowed(kind, rate, dtype):
                continue
            step, site = (torch.tensor(9), torch.tensor(2**32 - 5)) if ids is not None else (None, None)
            cpu, gpu = both(x, rate, step=step, site=site, samples=ids, shared_axes=shared_axes, kind=kind)
            assert_same_bits(dense(gpu[0]), dense(cpu[0]))
            assert_same_bits(dense(gpu[1]), dense(cpu[1]))


def test_every_half_and_bfloat_is_read_and_rounded_as_on_the_cpu() -> None:
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16)
    for dtype, kind in itertools.product((torch.float16, torch.bfloat16), NoiseKind):
        x, rate, seed = bits.view(dtype), count(6554), torch.tensor(3)
        assert_same_bits(
            apply_noise(x.cuda(), rate.cuda(), seed.cuda(), kind=kind).cpu(), apply_noise(x, rate, seed, kind=kind)
        )


def test_noise_of_many_words() -> None:
    x = torch.ones(1 << 24, dtype=torch.float64)
    cpu, gpu = both(x, HALF, kind=NoiseKind.GAUSSIAN)
    assert_same_bits(gpu[0], cpu[0])


def test_rates_give_the_constants_of_the_cpu() -> None:
    x = torch.linspace(-3, 3, 256)
    for rate, kind in itertools.product(range(0, 65536, 509), (NoiseKind.INVERTED, NoiseKind.ALPHA)):
        where = dict(kind=kind)
        ours = apply_noise(x.cuda(), count(rate).cuda(), torch.tensor(3).cuda(), **where)
        assert_same_bits(ours.cpu(), apply_noise(x, count(rate), torch.tensor(3), **where))


def test_in_place_writes_the_same_bits() -> None:
    for dtype, kind, shared_axes in itertools.product(DTYPES, NoiseKind, ((), (2, 3))):
        for name, x in layouts((3, 40, 5, 6), dtype).items():
            if name == "expanded" or not allowed(kind, 19661, dtype):
                continue
            x, rate, seed = on_gpu(x), count(19661).cuda(), torch.tensor(3).cuda()
            expected, strides = apply_noise(x, rate, seed, shared_axes=shared_axes, kind=kind), x.stride()
            assert apply_noise(x, rate, seed, shared_axes=shared_axes, kind=kind, inplace=True) is x and x.stride() == strides
            assert_same_bits(dense(x), dense(expected))


def test_elements_past_32_bits() -> None:
    number = (1 << 31) + 12345
    if torch.cuda.mem_get_info()[0] < 4 * 2 * number:
        pytest.skip("needs 17 GB of free memory on the GPU")
    x = torch.ones(number, dtype=torch.bfloat16, device="cuda")
    y = apply_noise(x, count(HALF).cuda(), torch.tensor(3).cuda())
    for begin in (0, (1 << 31) - 1000, number - 3000):
        where = torch.tensor(3), None, None, None, [1, begin], 0
        assert_same_bits(y[begin : begin + 3000].cpu(), schema.call(torch.ones(3000).bfloat16(), count(HALF), *where))
    turned = apply_noise(x[: 1 << 31].view(1 << 16, 1 << 15).t(), count(HALF).cuda(), torch.tensor(3).cuda())
    where = torch.tensor(3), None, None, None, [1, (1 << 31) - (1 << 16)], 0
    last = schema.call(torch.ones(1 << 16).bfloat16(), count(HALF), *where)
    assert_same_bits(turned[-1].contiguous().cpu(), last)


def arguments(x: Tensor, kind: NoiseKind = NoiseKind.INVERTED) -> tuple[Any, ...]:
    where = count(HALF).cuda(), torch.tensor(5).cuda(), torch.tensor(1).cuda(), None, torch.arange(len(x)).cuda()
    return x, *where, [0, 1, 0], int(kind)


@pytest.mark.parametrize("kind", NoiseKind, ids=lambda kind: kind.name)
def test_opcheck(kind: NoiseKind) -> None:
    x = torch.randn(6, 200, device="cuda", requires_grad=True)
    torch.library.opcheck(torch.ops.thinnet.apply_noise.default, arguments(x, kind))
    torch.library.opcheck(torch.ops.thinnet.apply_noise_.default, arguments(x.detach().clone(), kind))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(32, 256), thinnet.nn.Dropout(0.5), nn.ReLU(), thinnet.nn.Dropout(0.2)).cuda()


def test_a_captured_graph_follows_the_step_and_the_rate() -> None:
    model, x, ids = network(), torch.randn(16, 32, device="cuda"), torch.arange(16)
    rng = thinnet.DropoutRNG(3).bind(model).at(0, ids)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        model(x).sum().backward()
    torch.cuda.synchronize()
    graph, weight = torch.cuda.CUDAGraph(), model[0].weight
    weight.grad = None
    with torch.cuda.graph(graph):
        y = model(x)
        y.sum().backward()
    for step, samples, p in ((1, ids, 0.5), (2, ids + 100, 0.1), (7, ids.flip(0), 0.9)):
        rng.at(step, samples)
        model[1].p = p
        graph.replay()
        got = y.clone(), weight.grad.clone()
        weight.grad, held = None, weight.grad
        eager = model(x)
        eager.sum().backward()
        assert_same_bits(got[0], eager.detach())
        torch.testing.assert_close(got[1], weight.grad)
        weight.grad = held


def test_masks_without_addresses_are_new_at_each_replay_of_a_graph() -> None:
    x, layer = torch.ones(1000, device="cuda"), thinnet.nn.Dropout(0.5).cuda()
    layer(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = layer(x)
    masks = []
    for _ in range(3):
        graph.replay()
        masks.append(tuple((y != 0).tolist()))
    assert len(set(masks)) == 3


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_is_eager_and_nothing_is_compiled_again(mode: str) -> None:
    model, x = network(), torch.randn(16, 32, device="cuda")
    rng = thinnet.DropoutRNG(3).bind(model).at(0)
    compiled = torch.compile(model, mode=mode, fullgraph=True)
    for step in range(5):
        rng.at(step, samples=torch.arange(16) + step)
        with torch._dynamo.config.patch(error_on_recompile=step > 1):
            torch.compiler.cudagraph_mark_step_begin()
            model.zero_grad()  # a gradient that a CUDA graph made lives until its next replay
            y = compiled(x)
            y.sum().backward()
        mask, gradient = y.detach() != 0, model[0].weight.grad.clone()
        model.zero_grad()
        eager = model(x)
        eager.sum().backward()
        assert torch.equal(mask, eager.detach() != 0)
        torch.testing.assert_close(gradient, model[0].weight.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layer", [thinnet.nn.Dropout(0.3), thinnet.nn.Dropout2d(0.3)], ids=lambda layer: type(layer).__name__)
def test_compiled_code_fuses_noise(layer: nn.Module, dtype: torch.dtype) -> None:
    from torch._inductor.utils import run_and_get_code

    model = nn.Sequential(nn.ReLU(), layer.cuda())
    thinnet.DropoutRNG(3).bind(model).at(1, samples=torch.arange(6))
    x = torch.randn(6, 40, 8, 8, device="cuda", dtype=dtype).add_(3).requires_grad_()

    def gradient(f: Any) -> tuple[Tensor, Tensor]:
        y = f(x)
        return y.detach(), torch.autograd.grad(y.sum(), x)[0]

    ours, codes = run_and_get_code(lambda: gradient(torch.compile(model, fullgraph=True)))
    for one, other in zip(ours, gradient(model), strict=True):
        assert_same_bits(one, other)
    assert len(codes) == 2 and all("thinnet.apply_noise" not in code for code in codes)


def test_a_bound_model_has_the_masks_of_the_cpu() -> None:
    model = network()
    rng = thinnet.DropoutRNG(9).bind(model).at(3, samples=[5, 2**32 - 1, 7])
    kept = model[1](torch.ones(3, 256, device="cuda")) != 0
    assert torch.equal(kept.cpu(), rng.mask("1", step=3, samples=[5, 2**32 - 1, 7], shape=(256,)))


def test_nothing_is_stored_for_backward_and_nothing_waits() -> None:
    x = torch.randn(1 << 20, device="cuda", requires_grad=True)
    layer = thinnet.nn.Dropout(0.5).cuda()
    layer(x)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.set_sync_debug_mode("error")
    try:
        y = layer(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    held = torch.cuda.memory_allocated() - before - y.numel() * y.element_size()
    assert held <= 1024  # the seed, in the smallest pieces that PyTorch's allocator hands out
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda t: t):
        layer(x)
    assert sum(kept) <= 8
