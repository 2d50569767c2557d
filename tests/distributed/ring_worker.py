"""One rank for test_ring.py: attention over a shared sequence equals that of the whole on one device."""

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import parallelize_module

import thinnet
from thinnet.distributed import DropoutParallel, ring_attention, ring_positions
from thinnet.methods.attention.attend import attend
from thinnet.rng import NoiseKey, rates

LENGTH = 40
CASES = (
    {},
    {"is_causal": True},
    {"is_causal": True, "order": "zigzag"},
    {"is_causal": True, "order": "zigzag", "scale": 0.3, "window": (9, None)},
    {"window": (5, 3)},
)


def assert_equal_to_one_device(p: float, case: dict, site: nn.Module | None) -> None:
    """Outputs and gradients of the rows of this rank."""
    options, order = dict(case), case.get("order", "contiguous")
    options.pop("order", None)
    torch.manual_seed(3)
    whole = [torch.randn(2, heads, LENGTH, size, requires_grad=True) for heads, size in ((4, 8), (2, 8), (2, 16))]
    weight = torch.randn(2, 4, LENGTH, 16)
    seed = torch.randint(-(1 << 63), (1 << 63) - 1, ())  # what the first rank draws next
    key = site.key(whole[0]) if site is not None else NoiseKey("one", rates.tensor(p, torch.device("cpu")), seed)
    y = attend(key, *whole, **options)
    expected = torch.autograd.grad(y, whole, weight)

    rows = ring_positions(LENGTH, order=order)
    q, k, v = (x.detach().index_select(2, rows).requires_grad_() for x in whole)
    torch.manual_seed(3 + dist.get_rank())
    if dist.get_rank() == 0:
        for heads, size in ((4, 8), (2, 8), (2, 16), (4, 16)):
            torch.randn(2, heads, LENGTH, size)
    part = ring_attention(q, k, v, p=p if site is None else site, training=True, enable_gqa=True, **case)
    torch.testing.assert_close(part, y.index_select(2, rows), rtol=1e-5, atol=1e-6)
    found = torch.autograd.grad(part, (q, k, v), weight.index_select(2, rows))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs.index_select(2, rows), rtol=1e-4, atol=1e-5)


def assert_parts_equal_one_device(site: nn.Module, masked: bool, mesh: DeviceMesh) -> None:
    """Attention of DTensors, cut along samples, heads or queries: outputs and gradients."""
    torch.manual_seed(4)
    whole = [torch.randn(4, heads, 12, size, requires_grad=True) for heads, size in ((4, 8), (2, 8), (2, 6))]
    weight, mask = torch.randn(4, 4, 12, 6), torch.rand(4, 1, 12, 12) > 0.3 if masked else None
    for causal in {False, not masked}:
        y = site(*(x.repeat_interleave(4 // x.shape[1], 1) for x in whole), mask=mask, is_causal=causal)
        expected = y, *torch.autograd.grad(y, whole, weight)
        for place in (Replicate(), Shard(0), Shard(1), Shard(2)):
            q = distribute_tensor(whole[0].detach(), mesh, [place]).requires_grad_()
            k, v = (distribute_tensor(x.detach(), mesh, [Replicate()]).requires_grad_() for x in whole[1:])
            y = site(q, k, v, mask=mask, is_causal=causal)
            assert y.placements == (place,)
            found = y, *torch.autograd.grad(y, (q, k, v), distribute_tensor(weight, mesh, [place]))
            for mine, theirs in zip(found, expected, strict=True):
                torch.testing.assert_close(mine.full_tensor(), theirs, rtol=1e-5, atol=1e-5)


def assert_gradient_passes_a_collective(mesh: DeviceMesh) -> None:
    """A site that follows a collective whose result is on its way."""
    x = torch.ones(mesh.size(), 8, requires_grad=True)
    site = thinnet.nn.Dropout(0.5)
    thinnet.DropoutRNG(5).bind(site).at(3)
    y = site(DTensor.from_local(x, mesh, [Partial()]).redistribute(placements=[Shard(1)]))
    (gradient,) = torch.autograd.grad(y.to_local().sum(), x)
    assert torch.equal(gradient, site(torch.ones_like(x)))


def refused() -> None:
    """Bad input, on all ranks alike."""
    q = torch.randn(1, 2, 3, 4)
    with pytest.raises(ValueError, match="even number of rows"):
        ring_attention(q, q, q, p=0.1, training=False, order="zigzag")
    with pytest.raises(ValueError, match="length must be a multiple"):
        ring_positions(LENGTH + 1)
    with pytest.raises(ValueError, match="as many rows"):
        ring_attention(q, q[:, :, :2], q[:, :, :2], p=0.1, training=False)
    with pytest.raises(TypeError, match=r"Call q\.float\(\) first"):
        ring_attention(q.double(), q.double(), q.double(), p=0.1, training=False)


def refused_parts(mesh: DeviceMesh) -> None:
    """What a plan and a site cannot cut."""
    with pytest.raises(ValueError, match="dim must be an axis of units"):
        DropoutParallel(0)
    with pytest.raises(ValueError, match='order must be "contiguous" or "zigzag"'):
        DropoutParallel(1, order="ring")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a dropout site of thinnet"):
        parallelize_module(nn.Sequential(nn.Dropout(0.5)), mesh, {"0": DropoutParallel(1)})
    with pytest.raises(TypeError, match="must have the shape of its input; got DropBlock2d"):
        parallelize_module(nn.Sequential(thinnet.nn.DropBlock2d(0.5)), mesh, {"0": DropoutParallel(2)})
    weights, keys = thinnet.nn.AttentionDropout(0.5), thinnet.nn.DropKey(0.5)
    parallelize_module(nn.ModuleList([weights, keys]), mesh, {"*": DropoutParallel(2)})
    with pytest.raises(TypeError, match="noise that has the shape of the input"):
        keys(torch.ones(2, 3, 8, 8))
    with pytest.raises(ValueError, match="cut along its heads"):
        weights(*torch.ones(3, 1, 2, 4, 4))
    x = distribute_tensor(torch.ones(1, 2, 4, mesh.size()), mesh, [Shard(3)])
    with pytest.raises(TypeError, match="must not be cut along its features"):
        thinnet.nn.AttentionDropout(0.5)(x, x, x)


if __name__ == "__main__":
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    site = thinnet.nn.AttentionDropout(0.4)
    thinnet.DropoutRNG(5).bind(nn.Sequential(site)).at(3, [7, 9])
    for case in CASES:
        assert_equal_to_one_device(0.0, case, None)
        assert_equal_to_one_device(0.3, case, None)
        assert_equal_to_one_device(0.4, case, site)
    refused()
    for part in (thinnet.nn.AttentionDropout(0.4), thinnet.nn.DropKey(0.4)):
        thinnet.DropoutRNG(5).bind(nn.Sequential(part)).at(3, [7, 9, 2, 8])
        for masked in (False, True):
            assert_parts_equal_one_device(part, masked, mesh)
            assert_parts_equal_one_device(part.eval(), masked, mesh)
            part.train()
    assert_gradient_passes_a_collective(mesh)
    refused_parts(mesh)
    half = dist.new_subgroups(dist.get_world_size() // 2)[0]  # a ring of some of the ranks
    x = torch.randn(1, 2, 6, 4)
    assert ring_attention(x, x, x, p=0.5, training=True, group=half).shape == x.shape
    dist.destroy_process_group()
