"""On a GPU: attention with the masks of the CPU and the numbers of the reference, and what PyTorch expects of it there."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from triton_attention_checks import CASES, EMPTY

import thinnet
import thinnet.functional as T
from benchmarks import attention as networks
from benchmarks import device
from benchmarks.device import DEVICE, REHEARSE
from thinnet.ops.attention import Settings, attention, reference, schema
from thinnet.ops.attention.settings import COLUMNS, RENORMALISED

Shape = tuple[int, int, int, int, int, int]  # heads, heads of keys, queries, keys, width, width of values
SMALL: Shape = (4, 2, 37, 45, 20, 8)  # as the masks of `CASES`
LARGE: dict[str, Shape] = {} if REHEARSE else {"blocks": (4, 4, 200, 790, 64, 64), "wide": (4, 2, 130, 300, 128, 96)}
MODES = ("default",) if REHEARSE else ("default", "reduce-overhead", "max-autotune")  # which the interpreter does not know
DTYPES = (torch.float32,) if REHEARSE else (torch.float32, torch.bfloat16, torch.float16)  # numpy has no bfloat16
ROOM = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}


def moved(settings: Settings) -> Settings:
    return Settings(*(value.to(DEVICE) if isinstance(value, Tensor) else value for value in settings))


def inputs(batch: int, shape: Shape, dtype: torch.dtype) -> list[Tensor]:
    heads, key_heads, queries, keys, width, values = shape
    q, k = torch.randn(batch, heads, queries, width), torch.randn(batch, key_heads, keys, width)
    return [x.to(dtype) for x in (q, k, torch.randn(batch, keys, key_heads, values).transpose(1, 2))]


def both(x: list[Tensor], settings: Settings) -> list[tuple[Tensor, ...]]:
    """The output, and the gradients of q, k, v and an added mask: on the GPU, and of the reference in float32 on the CPU."""
    weight, found = torch.randn(*x[0].shape[:3], x[2].shape[3]), []
    for place, dtype in ((DEVICE, x[0].dtype), (torch.device("cpu"), torch.float32)):
        leaves = [each.to(place, dtype).requires_grad_() for each in x]
        here = moved(settings) if place == DEVICE else settings
        if here.mask is not None and here.mask.is_floating_point():
            here = here._replace(mask=here.mask.clone().requires_grad_())
            leaves.append(here.mask)
        run = schema.call if place == DEVICE else lambda q, k, v, s: reference.forward(q, k, v, *s)
        y, lse = run(*leaves[:3], here)
        gradients = torch.autograd.grad(y, leaves, weight.to(place, y.dtype))
        found.append(tuple(each.detach().float().cpu() for each in (y, lse, *gradients)))
    return found


def assert_close(ours: tuple[Tensor, ...], right: tuple[Tensor, ...], dtype: torch.dtype) -> None:
    for one, other in zip(ours, right, strict=True):
        largest = other.where(other.isfinite(), 0).abs().max()
        torch.testing.assert_close(one, other, rtol=ROOM[dtype], atol=ROOM[dtype] * max(1.0, float(largest)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", list(CASES)[:: 3 if REHEARSE else 1])  # tests/triton_attention_checks.py interprets all
def test_every_variant_has_the_numbers_and_gradients_of_the_reference(name: str, dtype: torch.dtype) -> None:
    batch, options = CASES[name]
    x = inputs(batch, SMALL, dtype)
    assert_close(*both(x, EMPTY._replace(**options)), dtype)


@pytest.mark.skipif(REHEARSE, reason="takes the interpreter long")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("options", [0, RENORMALISED, RENORMALISED + COLUMNS], ids=["element", "row", "key"])
@pytest.mark.parametrize("name", LARGE)
def test_several_blocks_of_queries_and_keys(name: str, options: int, dtype: torch.dtype) -> None:
    x = inputs(2, LARGE[name], dtype)
    where = {"options": options, "scale": LARGE[name][4] ** -0.5, "samples": torch.tensor([9, 4])}
    for right, left in ((-1, -1), (0, -1), (0, 150)):
        settings = EMPTY._replace(right=right, left=left, **where)
        assert_close(*both(x, settings), dtype)


@pytest.mark.parametrize("rate", [19661, 32768, 60000])
def test_a_weight_is_dropped_where_it_is_on_the_cpu(rate: int) -> None:
    """With equal weights and an identity of values, 128 of its columns at a time, each weight has a number of the output."""
    rows, keys = (5, 130) if REHEARSE else (300, 700)
    address = {"step": torch.tensor(5), "site": torch.tensor(2**32 - 5), "samples": torch.tensor([9, 2**32 - 1])}
    where: list[dict[str, Any]] = [{}, address, {**address, "first_query": torch.tensor(1000), "first_key": torch.tensor(77)}]
    for options in where:
        settings = EMPTY._replace(rate=torch.tensor(rate, dtype=torch.int32), heads=torch.tensor([3, 0]), **options)
        q, k = torch.zeros(2, 2, rows, 16, device=DEVICE), torch.zeros(2, 1, keys, 16, device=DEVICE)
        values = torch.eye(keys, device=DEVICE).expand(2, 1, keys, keys).split(128, -1)
        kept = torch.cat([schema.call(q, k, v, moved(settings))[0] for v in values], -1) != 0
        right = reference.kept_weights(settings, 2, 2, rows, keys, torch.device("cpu"))
        assert torch.equal(kept.cpu(), right.expand(kept.shape))


def test_packed_sequences_have_the_masks_of_padded_ones() -> None:
    lengths, ids = (10, 27, 5), torch.tensor([4, 8, 1])
    x = [torch.randn(3, 2, 27, 16, device=DEVICE) for _ in range(3)]
    rate, seed = torch.tensor(20000, dtype=torch.int32, device=DEVICE), torch.tensor(3, device=DEVICE)
    padded, _ = attention(*x, rate, seed, samples=ids.to(DEVICE), window=(None, 0))
    packed = [torch.cat([part[i, :, :n] for i, n in enumerate(lengths)], 1)[None] for part in x]
    starts = torch.tensor([0, 10, 37, 42], device=DEVICE)
    y, _ = attention(*packed, rate, seed, samples=ids.to(DEVICE), window=(None, 0), query_starts=starts, key_starts=starts)
    torch.testing.assert_close(y[0], torch.cat([padded[i, :, :n] for i, n in enumerate(lengths)], 1), rtol=1e-4, atol=1e-5)


def test_more_samples_than_an_axis_of_a_grid_has() -> None:
    count, like = (70 if REHEARSE else 70000), {"device": DEVICE}
    x, ids = [torch.randn(count, 1, 5, 16, **like) for _ in range(3)], torch.arange(count, **like)
    rate, seed = torch.tensor(20000, dtype=torch.int32, **like), torch.tensor(3, **like)
    whole, _ = attention(*x, rate, seed, samples=ids)
    last, _ = attention(*(each[-3:] for each in x), rate, seed, samples=ids[-3:])
    torch.testing.assert_close(whole[-3:], last)


SITES: dict[str, dict[str, Any]] = {
    "element": {"dropout": 0.3},
    "head": {"dropout": 0.3, "drop_head": 0.4},
    "key": {"dropout": thinnet.nn.DropKey(0.3)},
    "row": {"dropout": thinnet.nn.DropAttention(0.3)},
}


@pytest.mark.parametrize("name", SITES)
def test_layers_are_the_same_on_both(name: str) -> None:
    layer = thinnet.nn.MultiheadAttention(32, 4, batch_first=True, **copy.deepcopy(SITES[name]))
    x, found = torch.randn(3, 7 if REHEARSE else 130, 32), []
    for place, model in (("cpu", layer), (DEVICE, copy.deepcopy(layer).to(DEVICE))):
        thinnet.DropoutRNG(7).bind(model).at(3, samples=torch.tensor([5, 2**32 - 1, 7]))
        leaf = x.to(place).requires_grad_()
        y = model(leaf, leaf, leaf, need_weights=False)[0]
        found.append([each.detach().cpu() for each in (y, *torch.autograd.grad(y.square().sum(), [leaf, *model.parameters()]))])
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-4)


class Attends(nn.Module):
    """Causal attention with dropout of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = thinnet.nn.AttentionDropout(0.3)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.dropout(q, k, v, is_causal=True) * 1


def three(length: int = 5 if REHEARSE else 150) -> list[Tensor]:
    return [torch.randn(2, 2, length, 16, device=DEVICE, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize("mode", MODES)
def test_compiled_is_eager_at_every_step(mode: str) -> None:
    model, x = Attends().to(DEVICE), three()
    rng, compiled = thinnet.DropoutRNG(3).bind(model), device.compiled(model, mode=mode)
    for step in range(3):
        rng.at(step, samples=torch.arange(2) + step)
        torch.compiler.cudagraph_mark_step_begin()
        found = []
        for run in (compiled, model):
            y = run(*x)
            found.append([each.detach().clone() for each in (y, *torch.autograd.grad(y.square().sum(), x))])
        torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


def test_lengths_may_vary_in_compiled_code() -> None:
    compiled = device.compiled(lambda q, k, v: T.attention(q, k, v, p=0.0, training=True, window=(5, 0)), dynamic=True)
    for length in (5, 9, 3) if REHEARSE else (150, 330, 70):
        x = three(length)
        torch.testing.assert_close(compiled(*x), T.attention(*x, p=0.0, training=True, window=(5, 0)), atol=1e-4, rtol=1e-4)


def test_a_captured_graph_follows_the_step() -> None:
    model, x = Attends().to(DEVICE), three()
    rng = thinnet.DropoutRNG(3).bind(model).at(0, torch.arange(2))
    replay, results = device.captured(lambda: (y := model(*x), *torch.autograd.grad(y.sum(), x)))
    seen = set()
    for step in (1, 2, 7):
        rng.at(step, torch.arange(2) + step)
        replay()
        got = [each.detach().clone() for each in results]
        expected = model(*x)
        torch.testing.assert_close(got, [expected.detach(), *torch.autograd.grad(expected.sum(), x)], atol=1e-5, rtol=1e-5)
        seen.add(tuple(got[0].flatten().tolist()))
    assert len(seen) == 3


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_recomputed_block_has_the_same_masks_under_autocast(reentrant: bool) -> None:
    def attend(*x: Tensor) -> Tensor:
        return T.attention(*(each.float() for each in x), p=0.3, training=True, is_causal=True)

    block, found = networks.Block(32, 2, thinnet.nn.Dropout, attend, 0.3).to(DEVICE), []
    x = torch.randn(2, 7 if REHEARSE else 130, 32, device=DEVICE)
    for run in (block, lambda x: checkpoint(block, x, use_reentrant=reentrant)):
        torch.manual_seed(5)
        leaf = x.clone().requires_grad_()
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            y = run(leaf)
        block.zero_grad()
        y.float().sum().backward()
        found.append([y.detach(), leaf.grad, *(parameter.grad.clone() for parameter in block.parameters())])
    torch.testing.assert_close(*found, atol=1e-2, rtol=1e-2)


def test_opcheck() -> None:
    settings = moved(EMPTY._replace(step=torch.tensor(5), samples=torch.tensor([9, 3]), right=0))
    torch.library.opcheck(torch.ops.thinnet.attention.default, (*three(), *settings))


@pytest.mark.skipif(REHEARSE, reason="counts the memory of the GPU")
def test_no_weight_is_stored() -> None:
    length = 4096
    x = [torch.randn(1, 2, length, 64, device=DEVICE, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    run = lambda: T.attention(*x, p=0.1, training=True)  # noqa: E731
    torch.autograd.grad(run().sum(), x)
    whole = 2 * length * length * 2
    assert device.peak(lambda: torch.autograd.grad(run().sum(), x)) < whole / 4
