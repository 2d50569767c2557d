"""The form of noise that `torch.compile` fuses on a GPU, compiled for a CPU: the bits of the kernels, forward and backward."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from assertions import assert_same_bits
from test_backends import count
from torch import Tensor
from torch._inductor import config
from torch._inductor.utils import run_and_get_code
from torch._inductor.virtualized import V

from thinnet.ops import apply_noise, inductor, schema
from thinnet.ops.reference import WORD, NoiseKind


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets the CPU fuse too. Nothing is cached: a later process would take the code for its own."""
    inductor.register(schema.op)
    monkeypatch.setattr(inductor, "DEVICES", {"cpu", "cuda"})
    torch._dynamo.reset()
    with config.patch(force_disable_caches=True):
        yield
    torch._dynamo.reset()


def cases() -> list[tuple[Tensor, int, dict[str, Any]]]:
    """Inputs, rates and addresses. What is not here runs in Triton's interpreter, which compiles faster: triton_checks.py."""
    ids = torch.tensor([5, 2**32 - 1, 7])
    return [
        (torch.randn(3, 130).bfloat16(), 30000, dict(step=torch.tensor(9), site=torch.tensor(2**32 - 5), samples=ids)),
        (torch.randn(3, 40, 8, 8).to(memory_format=torch.channels_last), 30000, dict(shared_axes=(2, 3))),
        (torch.randn(0, 3), 30000, {}),
    ]


def test_the_fused_form_has_the_bits_of_the_kernels(fused: None) -> None:
    every = [(x.requires_grad_(), count(rate), where) for x, rate, where in cases()]
    seed = torch.tensor(-77)

    def noised() -> list[Tensor]:
        return [apply_noise(x, rate, seed, **where) for x, rate, where in every]

    def both(function: Any) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        found = function()
        return [y.detach() for y in found], torch.autograd.grad(found, [x for x, *_ in every], [2 * x for x, *_ in every])

    ours, codes = run_and_get_code(lambda: both(torch.compile(noised, fullgraph=True)))
    for one, other in zip((*ours[0], *ours[1]), (y for part in both(noised) for y in part), strict=True):
        assert_same_bits(one, other)
    assert len(codes) == 2 and all(code.count("apply_noise.default(") == 1 for code in codes)  # the empty one stays whole


def test_shapes_may_vary_and_other_kinds_stay_whole(fused: None) -> None:
    rate, seed = count(30000), torch.tensor(3)

    def noised(x: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        where: dict[str, Any] = dict(samples=samples, step=seed)
        return apply_noise(x.relu() + 1, rate, seed, **where), apply_noise(x, rate, seed, kind=NoiseKind.ALPHA, **where)

    compiled = torch.compile(noised, dynamic=True, fullgraph=True)
    for rows, units in ((3, 130), (5, 700), (2, 7)):
        x, ids = torch.randn(rows, units), torch.arange(rows) + 40
        for one, other in zip(compiled(x, ids), noised(x, ids), strict=True):
            assert_same_bits(one, other)


class Arithmetic:
    """The operations of Inductor on tensors, with a quotient that is off by some units in the last place."""

    def __init__(self, off: int) -> None:
        self.off = off

    def constant(self, value: float, dtype: torch.dtype) -> Tensor:
        return torch.tensor(value, dtype=torch.int64 if dtype == torch.uint32 else dtype)

    def to_dtype(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return x.to(torch.int64) & WORD if dtype == torch.uint32 else x.to(dtype)

    def to_dtype_bitcast(self, x: Tensor, dtype: torch.dtype, before: torch.dtype) -> Tensor:
        return x.view(dtype)

    def truediv(self, x: Tensor, y: Tensor) -> Tensor:
        return ((x / y).view(torch.int32) + self.off).view(torch.float32)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@pytest.mark.parametrize("off", range(-2, 3))
def test_the_scale_is_rounded_to_nearest_whatever_the_quotient(off: int) -> None:
    rates = torch.arange(65536, dtype=torch.int32)
    with V.set_ops_handler(Arithmetic(off)):
        scale = inductor._scale(rates)
    assert torch.equal(scale.value, 65536 / (65536 - rates).float())
