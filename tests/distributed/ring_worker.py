"""One rank of `torchrun` for test_ring.py: attention over a shared sequence equals that of the whole on one device."""

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import nn

import thinnet
from thinnet.distributed import ring_attention, ring_positions
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


if __name__ == "__main__":
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    site = thinnet.nn.AttentionDropout(0.4)
    thinnet.DropoutRNG(5).bind(nn.Sequential(site)).at(3, [7, 9])
    for case in CASES:
        assert_equal_to_one_device(0.0, case, None)
        assert_equal_to_one_device(0.3, case, None)
        assert_equal_to_one_device(0.4, case, site)
    refused()
    half = dist.new_subgroups(dist.get_world_size() // 2)[0]  # a ring of some of the ranks
    x = torch.randn(1, 2, 6, 4)
    assert ring_attention(x, x, x, p=0.5, training=True, group=half).shape == x.shape
    dist.destroy_process_group()
