"""On a GPU, under `torch.compile`: the bits of eager mode, fused, in every mode of the compiler."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from assertions import assert_same_bits
from test_backends import count
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thinnet
from benchmarks import device
from benchmarks.device import DEVICE, REHEARSE
from thinnet.ops import NoiseKind, apply_noise

Result = tuple[Tensor, ...]
KINDS = tuple(NoiseKind)
ROWS = 4 if REHEARSE else 64
MODES = ("default",) if REHEARSE else ("default", "reduce-overhead", "max-autotune")  # which the interpreter does not know


def cases() -> list[tuple[Tensor, int, dict[str, Any]]]:
    """Inputs, rates and addresses that one compiled graph serves: dtypes, layouts, shared axes, parts of an address."""
    ids, step, site = torch.tensor([5, 2**32 - 1, 7]), torch.tensor(9), torch.tensor(2**32 - 5)
    return [
        (torch.randn(30 if REHEARSE else 300, 1000), 19661, {}),
        (torch.randn(3, 130).bfloat16(), 30000, dict(step=step, site=site, samples=ids)),
        (torch.randn(3, 50, 64).half(), 65536, dict(samples=torch.tensor([2**32 - 1]))),
        (torch.randn(3, 5, 40, dtype=torch.float64), 30000, dict(shared_axes=(2,), samples=ids)),
        (torch.randn(3, 5, 40), 19661, dict(shared_axes=(0, 1), step=step)),
        (torch.randn(3, 40, 8, 8).to(memory_format=torch.channels_last).bfloat16(), 30000, dict(samples=ids)),
        (torch.randn(3, 64, 2 if REHEARSE else 24, 24).bfloat16(), 30000, dict(samples=ids, shared_axes=(2, 3))),
        (torch.randn(70, 30).t(), 0, {}),
        (torch.randn(0, 3), 30000, {}),
    ]


def moved(where: dict[str, Any]) -> dict[str, Any]:
    return {name: value.to(DEVICE) if isinstance(value, Tensor) else value for name, value in where.items()}


def test_fused_noise_has_the_bits_of_the_kernels() -> None:
    every = [(x.to(DEVICE).requires_grad_(), count(rate).to(DEVICE), moved(where)) for x, rate, where in cases()]
    seed = torch.tensor(-77, device=DEVICE)

    def noised() -> list[Tensor]:
        return [apply_noise(x, rate, seed, **where) for x, rate, where in every]

    def both(function: Callable[[], list[Tensor]]) -> Result:
        found = function()
        gradients = torch.autograd.grad(found, [x for x, *_ in every], [2 * x.detach() for x, *_ in every])
        return *(y.detach() for y in found), *gradients

    run = device.compiled(noised)
    if REHEARSE:
        ours = both(run)
    else:
        from torch._inductor.utils import run_and_get_code

        ours, codes = run_and_get_code(lambda: both(run))
        assert len(codes) == 2 and all(code.count("apply_noise.default(") == 1 for code in codes)  # the empty one stays whole
    for one, other in zip(ours, both(noised), strict=True):
        assert_same_bits(one.contiguous(), other.contiguous())


def network() -> nn.Module:
    noises = thinnet.nn.Dropout(0.5), nn.ReLU(), thinnet.nn.Dropout(0.2), thinnet.nn.GaussianDropout(0.1)
    units = 16 if REHEARSE else 256  # `max-autotune` times every product in many ways
    return nn.Sequential(nn.Linear(32, units), *noises).to(DEVICE)


def gradients(function: Callable[[Tensor], Tensor], model: nn.Module, x: Tensor) -> Result:
    """The output and all gradients."""
    y = function(x)
    model.zero_grad()
    y.sum().backward()
    return y.detach().clone(), *(parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("mode", MODES)
def test_compiled_is_eager_at_every_step_and_rate_and_nothing_is_compiled_again(mode: str) -> None:
    model, x = network(), torch.randn(ROWS, 32, device=DEVICE)
    rng = thinnet.DropoutRNG(3).bind(model).at(0)
    compiled = device.compiled(model, mode=mode)
    for step in range(5):
        rng.at(step, samples=torch.arange(ROWS) + step)
        model[1].p = 0.1 + step / 7
        with torch._dynamo.config.patch(error_on_recompile=step > 1):
            torch.compiler.cudagraph_mark_step_begin()
            ours = gradients(compiled, model, x)
        torch.testing.assert_close(ours, gradients(model, model, x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES[:2])
def test_masks_without_addresses_are_new_at_each_call(mode: str) -> None:
    layer, x = thinnet.nn.Dropout(0.5).to(DEVICE), torch.ones(1000, device=DEVICE)
    compiled, masks = device.compiled(layer, mode=mode), set()
    for _ in range(4):
        torch.compiler.cudagraph_mark_step_begin()
        masks.add(tuple((compiled(x) != 0).tolist()))
    assert len(masks) == 4


def test_forward_and_backward_draw_the_same_mask() -> None:
    layer, x = thinnet.nn.Dropout(0.5).to(DEVICE), torch.ones(4, 1000, device=DEVICE, requires_grad=True)
    y = device.compiled(lambda x: layer(x) * 1)(x)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], y.detach())


def test_shapes_may_vary() -> None:
    rate, seed = count(30000).to(DEVICE), torch.tensor(3, device=DEVICE)

    def noised(x: Tensor, samples: Tensor) -> Result:
        where: dict[str, Any] = dict(samples=samples, step=seed)
        drawn = [apply_noise(x, rate, seed, kind=kind, **where) for kind in KINDS]
        return apply_noise(x.relu() + 1, rate, seed, shared_axes=(2,), **where), *drawn

    compiled = device.compiled(noised, dynamic=True)
    for rows, units in ((3, 130), (5, 700), (2, 7)):
        x, ids = torch.randn(rows, units, 4, device=DEVICE), torch.arange(rows, device=DEVICE) + 40
        for one, other in zip(compiled(x, ids), noised(x, ids), strict=True):
            assert_same_bits(one, other)


class Recomputed(nn.Module):
    """Keeps the activations of a part for backward, or computes them again."""

    def __init__(self, part: nn.Module, recomputes: bool) -> None:
        super().__init__()
        self.part, self.recomputes = part, recomputes

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            return checkpoint(self.part, x, use_reentrant=False) if self.recomputes else self.part(x)


@pytest.mark.parametrize("recomputes", [False, True])
def test_autocast_and_checkpointing_keep_the_masks(recomputes: bool) -> None:
    model, x = Recomputed(network(), recomputes), torch.randn(ROWS, 32, device=DEVICE, requires_grad=True)
    rng, found = thinnet.DropoutRNG(3).bind(model), []
    for function in (device.compiled(model), model):
        rng.at(4, samples=torch.arange(ROWS))
        found.append(gradients(function, model, x))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=0.05 * float(other.abs().max()), rtol=0.05)


@pytest.mark.skipif(REHEARSE, reason="counts the memory of the GPU")
def test_compiled_noise_keeps_nothing_for_backward() -> None:
    layer, x = thinnet.nn.Dropout(0.5).to(DEVICE), torch.randn(1 << 22, device=DEVICE, requires_grad=True)
    compiled = device.compiled(layer)
    compiled(x).sum().backward()
    x.grad = None
    device.synchronize()
    before = device.allocated()
    y = compiled(x)
    assert device.allocated() - before - y.numel() * y.element_size() <= 4096


def test_kinds_that_stay_whole_have_the_bits_of_eager_mode() -> None:
    x, rate, seed = torch.randn(6, 1000, device=DEVICE), count(19661).to(DEVICE), torch.tensor(3, device=DEVICE)

    def noised(x: Tensor) -> Result:
        return tuple(apply_noise(x, rate, seed, kind=kind, samples=seed.view(1)) for kind in KINDS)

    for one, other in zip(device.compiled(noised)(x), noised(x), strict=True):
        assert_same_bits(one, other)
