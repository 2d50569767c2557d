"""Thinned training on two ranks equals one process with two groups: a group has the address of its first sample."""

from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from processes import assert_ranks
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import thinnet
from thinnet import optim

STEPS, BATCH, RANKS = 6, 8, 2


def build() -> nn.Sequential:
    """Two chains."""
    torch.manual_seed(1)
    layers = [nn.Linear(5, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 24), nn.Tanh(), nn.Dropout(0.3), nn.Linear(24, 1)]
    return nn.Sequential(*layers).double()


def train(
    model: nn.Module,
    rng: thinnet.DropoutRNG,
    rank: int = 0,
    ranks: int = 1,
    sgd: type[torch.optim.SGD] = torch.optim.SGD,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    """Trains on the rank's contiguous part of each batch; returns the weights."""
    source = torch.Generator().manual_seed(5)
    optimizer = sgd(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    part = slice(rank * BATCH // ranks, (rank + 1) * BATCH // ranks)
    for step in range(STEPS):
        ids = torch.randint(1000, (BATCH,), generator=source)
        x = torch.randn(BATCH, 5, dtype=torch.float64, generator=source).to(dtype)
        rng.at(step, ids[part])
        model(x[part]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name.removeprefix("module."): value.detach() for name, value in model.state_dict().items()}


def main() -> None:
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank = dist.get_rank()
    for lazily in (False, True):
        alone, ours = build(), build()
        thinnet.thin(alone, torch.randn(BATCH, 5).double(), groups=RANKS, always=True)
        if not lazily:
            thinnet.thin(ours, torch.randn(BATCH, 5).double(), always=True)
            model: nn.Module = DistributedDataParallel(ours)
        else:
            thinnet.thin(ours, always=True)
            model = DistributedDataParallel(ours)
            model(torch.randn(BATCH, 5).double()).sum().backward()  # the first batch finds the chains, with all hooks in place
            model.zero_grad()
        found = train(model, thinnet.DropoutRNG(3).bind(ours), rank, RANKS)
        torch.testing.assert_close(found, train(alone, thinnet.DropoutRNG(3).bind(alone)), rtol=1e-9, atol=1e-11)
    for as_view in (False, True):  # the gradients of all ranks are added up in full
        alone, ours = build().float(), build().float()
        thinnet.thin(alone, torch.randn(BATCH, 5), groups=RANKS, always=True)
        thinnet.thin(ours, torch.randn(BATCH, 5), always=True)
        model = DistributedDataParallel(ours, gradient_as_bucket_view=as_view)
        found = train(model, thinnet.DropoutRNG(3).bind(ours), rank, RANKS, optim.SGD, torch.float32)
        expected = train(alone, thinnet.DropoutRNG(3).bind(alone), dtype=torch.float32)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    dist.destroy_process_group()


def test_two_ranks_train_as_one_process_with_two_groups() -> None:
    assert_ranks(RANKS, Path(__file__))


if __name__ == "__main__":
    main()
