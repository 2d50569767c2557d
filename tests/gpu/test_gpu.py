"""On a GPU: the bits of the reference on a CPU, and what PyTorch expects of an operation there."""

import itertools
from typing import Any

import pytest
import torch
from assertions import assert_same_bits
from test_backends import DTYPES, allowed, count, dense, layouts, noise_shapes, sample_ids
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thinnet
from benchmarks import device
from benchmarks.device import DEVICE, REHEARSE
from thinnet.ops import NoiseKind, apply_noise, backends, schema

SHAPES = ((5, 130), (2, 7, 5, 4)) if REHEARSE else ((1,), (5, 130), (2, 70, 9, 4), (300, 33), (4, 512), (3, 16, 24, 24), (0, 3))
HALF = 32768

each_kind = pytest.mark.parametrize("kind", NoiseKind, ids=lambda kind: kind.name)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def on_gpu(x: Tensor) -> Tensor:
    """The same tensor with the same strides, whatever holes its memory has."""
    memory = torch.as_strided(x, (x.untyped_storage().nbytes() // x.element_size(),), (1,), 0)
    return memory.to(DEVICE).as_strided(x.shape, x.stride(), x.storage_offset())


def on_cpu(x: Tensor, rate: int, seed: int, **where: Any) -> Tensor:
    """What the reference gives."""
    return apply_noise(x, count(rate), torch.tensor(seed), backend="reference", **where)


def both(x: Tensor, rate: int, **where: Any) -> list[tuple[Tensor, Tensor]]:
    """The result and its gradient, of the reference on the CPU and on the GPU."""
    weight, found = torch.randn_like(x), []
    for move, path in ((lambda t: t, "reference"), (on_gpu, "auto")):
        here = move(x.detach()).requires_grad_()
        there = {k: move(v) if isinstance(v, Tensor) else v for k, v in where.items()}
        y = apply_noise(here, move(count(rate)), move(torch.tensor(-77)), backend=path, **there)
        found.append((y.detach().cpu(), torch.autograd.grad(y, here, move(weight))[0].cpu()))
        assert y.stride() == torch.empty_like(here).stride()
    return found


@pytest.mark.skipif(REHEARSE, reason="asks for the GPU itself")
def test_triton_serves_the_gpu() -> None:
    assert backends()["cuda"] == "triton" and backends()["cuda, compiled"] == "inductor" and thinnet.ops.why("cuda") is None
    assert "CUDA: registered" in torch._C._dispatch_dump("thinnet::apply_noise")


@each_kind
@each_dtype
def test_forward_and_backward_give_the_bits_of_the_reference(dtype: torch.dtype, kind: NoiseKind) -> None:
    for first, shape in enumerate(SHAPES):
        every = list(itertools.product(layouts(shape, dtype).values(), noise_shapes(shape), sample_ids(shape)))
        for number, (x, shared_axes, ids) in enumerate(every[first % 3 :: 30 if REHEARSE else 3]):
            rate = (19661, 0, 30000, 65536)[number % 4]
            if not allowed(kind, rate, dtype):
                continue
            step, site = (torch.tensor(9), torch.tensor(2**32 - 5)) if ids is not None else (None, None)
            cpu, gpu = both(x, rate, step=step, site=site, samples=ids, shared_axes=shared_axes, kind=kind)
            assert_same_bits(dense(gpu[0]), dense(cpu[0]))
            assert_same_bits(dense(gpu[1]), dense(cpu[1]))


def test_each_row_has_a_step_of_its_own() -> None:
    x, rate, seed, step = torch.randn(3, 4, 130), count(30000), torch.tensor(3), torch.tensor([3, 1, 2])
    for kind, ids in itertools.product(NoiseKind, (torch.tensor([7, 5, 9, 2**32 - 1]), None)):
        there = [None if part is None else part.to(DEVICE) for part in (x, rate, seed, step, None, ids)]
        expected = schema._reference(x, rate, seed, step, None, ids, [], int(kind))
        assert_same_bits(schema.call(*there, [], int(kind)).cpu(), expected)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(32, 256), thinnet.nn.Dropout(0.5), nn.ReLU(), thinnet.nn.Dropout(0.2)).to(DEVICE)


def test_a_bound_model_has_the_masks_of_the_cpu() -> None:
    model = network()
    rng = thinnet.DropoutRNG(9).bind(model).at(3, samples=[5, 2**32 - 1, 7])
    kept = model[1](torch.ones(3, 256, device=DEVICE)) != 0
    assert torch.equal(kept.cpu(), rng.mask("1", step=3, samples=[5, 2**32 - 1, 7], shape=(256,)))


def test_a_profiler_sees_a_call_and_changes_no_bit() -> None:
    x, rate, seed = torch.randn(6, 130, device=DEVICE), count(30000).to(DEVICE), torch.tensor(3, device=DEVICE)
    plain = apply_noise(x, rate, seed)
    with torch.profiler.profile() as profile:
        watched = apply_noise(x, rate, seed)
    assert_same_bits(watched, plain)
    assert "thinnet::apply_noise" in {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("layer", [thinnet.nn.Dropout(0.5), thinnet.nn.Dropout1d(0.5), thinnet.nn.GaussianDropout(0.5)])
def test_nothing_is_stored_for_backward_and_nothing_waits(layer: nn.Module) -> None:
    layer, x = layer.to(DEVICE), torch.randn(16, 64, 2 if REHEARSE else 1024, device=DEVICE, requires_grad=True)
    layer(x)
    device.synchronize()
    before = device.allocated()
    if not REHEARSE:
        torch.cuda.set_sync_debug_mode("error")
    try:
        y = layer(x)
    finally:
        if not REHEARSE:
            torch.cuda.set_sync_debug_mode("default")
    assert REHEARSE or device.allocated() - before - y.numel() * y.element_size() <= 1024  # the seed, in the smallest pieces
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda t: t):
        layer(x)
    assert sum(kept) <= 8


def test_a_captured_graph_follows_the_step_and_the_rate() -> None:
    model, x, ids = network(), torch.randn(16, 32, device=DEVICE), torch.arange(16)
    rng = thinnet.DropoutRNG(3).bind(model).at(0, ids)

    def work() -> tuple[Tensor, ...]:
        y = model(x)
        return y, *torch.autograd.grad(y.sum(), list(model.parameters()))

    replay, results = device.captured(work)
    for step, samples, p in ((1, ids, 0.5), (2, ids + 100, 0.1), (7, ids.flip(0), 0.9)):
        rng.at(step, samples)
        model[1].p = p
        replay()
        got = [y.detach().clone() for y in results]
        expected = work()
        assert_same_bits(got[0], expected[0].detach())
        torch.testing.assert_close(got[1:], list(expected[1:]))


def test_masks_without_addresses_are_new_at_each_replay_of_a_graph() -> None:
    x, layer = torch.ones(1000, device=DEVICE), thinnet.nn.Dropout(0.5).to(DEVICE)
    layer(x)
    replay, (y,) = device.captured(lambda: (layer(x),))
    masks = set()
    for _ in range(3):
        replay()
        masks.add(tuple((y != 0).tolist()))
    assert len(masks) == 3


def arguments(x: Tensor, kind: NoiseKind = NoiseKind.INVERTED) -> tuple[Any, ...]:
    numbers = count(HALF), torch.tensor(5), torch.tensor(1)
    return x, *(number.to(DEVICE) for number in numbers), None, torch.arange(len(x), device=DEVICE), [0, 1, 0], int(kind)


@each_kind
def test_opcheck(kind: NoiseKind) -> None:
    x = torch.randn(6, 20 if REHEARSE else 200, device=DEVICE, requires_grad=True)
    torch.library.opcheck(torch.ops.thinnet.apply_noise.default, arguments(x, kind))
    torch.library.opcheck(torch.ops.thinnet.apply_noise_.default, arguments(x.detach().clone(), kind))


def test_autocast_keeps_the_masks() -> None:
    model, x = network(), torch.randn(16, 32, device=DEVICE)
    thinnet.DropoutRNG(3).bind(model).at(4, samples=torch.arange(16))
    with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
        low = model(x)
    assert low.dtype == torch.bfloat16
    drawn = model[1](torch.ones(16, 256, device=DEVICE)) != 0
    assert torch.equal((model[1](model[0](x).bfloat16()) != 0), drawn)
    assert not bool((low != 0)[~drawn].any())


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("addressed", [False, True])
def test_a_recomputed_pass_has_the_same_masks(reentrant: bool, addressed: bool) -> None:
    model, x = network(), torch.randn(16, 32, device=DEVICE)
    if addressed:
        thinnet.DropoutRNG(3).bind(model).at(4, samples=torch.arange(16))
    model(x)
    found = []
    for run in (model, lambda x: checkpoint(model, x, use_reentrant=reentrant)):
        torch.manual_seed(5)
        here = x.clone().requires_grad_()
        y = run(here)
        y.sum().backward()
        assert here.grad is not None
        found.append((y.detach(), here.grad))
    for one, other in zip(*found, strict=True):
        assert_same_bits(one, other)


def test_in_place_writes_the_same_bits() -> None:
    for dtype, kind, shared_axes in itertools.product(DTYPES[:3] if REHEARSE else DTYPES, NoiseKind, ((), (2, 3))):
        for name, x in layouts((3, 4, 5, 6) if REHEARSE else (3, 40, 5, 6), dtype).items():
            if name == "expanded" or not allowed(kind, 19661, dtype):
                continue
            x, rate, seed = on_gpu(x), count(19661).to(DEVICE), torch.tensor(3, device=DEVICE)
            expected, strides = apply_noise(x, rate, seed, shared_axes=shared_axes, kind=kind), x.stride()
            assert apply_noise(x, rate, seed, shared_axes=shared_axes, kind=kind, inplace=True) is x and x.stride() == strides
            assert_same_bits(dense(x), dense(expected))


def test_every_half_and_bfloat_is_read_and_rounded_as_on_the_cpu() -> None:
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16)
    for dtype, kind in itertools.product((torch.float16, torch.bfloat16), NoiseKind):
        x, rate, seed = bits.view(dtype), count(6554).to(DEVICE), torch.tensor(3, device=DEVICE)
        assert_same_bits(apply_noise(x.to(DEVICE), rate, seed, kind=kind).cpu(), on_cpu(x, 6554, 3, kind=kind))


def test_rates_give_the_constants_of_the_cpu() -> None:
    x = torch.linspace(-3, 3, 256)
    for rate, kind in itertools.product(range(0, 65536, 9999 if REHEARSE else 509), (NoiseKind.INVERTED, NoiseKind.ALPHA)):
        ours = apply_noise(x.to(DEVICE), count(rate).to(DEVICE), torch.tensor(3, device=DEVICE), kind=kind)
        assert_same_bits(ours.cpu(), on_cpu(x, rate, 3, kind=kind))


def test_noise_of_many_words() -> None:
    cpu, gpu = both(torch.ones(1 << (12 if REHEARSE else 24), dtype=torch.float64), HALF, kind=NoiseKind.GAUSSIAN)
    assert_same_bits(gpu[0], cpu[0])


@pytest.mark.skipif(REHEARSE, reason="needs 17 GB")
def test_elements_past_32_bits() -> None:
    number = (1 << 31) + 12345
    if device.free() < 4 * 2 * number:
        pytest.skip("needs 17 GB of free memory on the GPU")
    rate, seed = count(HALF).to(DEVICE), torch.tensor(3, device=DEVICE)
    x = torch.ones(number, dtype=torch.bfloat16, device=DEVICE)
    y = apply_noise(x, rate, seed)
    for begin in (0, (1 << 31) - 1000, number - 3000):
        where = torch.tensor(3), None, None, None, [1, begin], 0
        assert_same_bits(y[begin : begin + 3000].cpu(), schema.call(torch.ones(3000).bfloat16(), count(HALF), *where))
    turned = apply_noise(x[: 1 << 31].view(1 << 16, 1 << 15).t(), rate, seed)
    where = torch.tensor(3), None, None, None, [1, (1 << 31) - (1 << 16)], 0
    last = schema.call(torch.ones(1 << 16).bfloat16(), count(HALF), *where)
    assert_same_bits(turned[-1].contiguous().cpu(), last)
