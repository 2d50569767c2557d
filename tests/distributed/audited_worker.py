"""One rank of `torchrun` for test_audited.py: audits of right and of wrong models between four ranks."""

from collections.abc import Callable
from datetime import timedelta

import gpt
import torch
import torch.distributed as dist
import torch.nn.functional as F
from equality_worker import context_parallel_model, sequence_parallel_model, sharded, tensor_parallel_model
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import thinnet


class Block(nn.Module):
    """A block with dropout of PyTorch: a module on the hidden units, a function on the residual branch."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.up, self.down, self.drop = nn.Linear(16, 32), nn.Linear(32, 16), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.dropout(self.down(self.drop(F.gelu(self.up(x)))), 0.2, self.training)


def blocks() -> nn.Sequential:
    return nn.Sequential(Block(), Block())


def codes(model: nn.Module, *example: Tensor) -> list[str]:
    """The codes of an audit, which changes nothing."""
    before = [(p, p.to_local() if hasattr(p, "to_local") else p) for p in model.parameters()]
    values, state = [local.detach().clone() for _, local in before], torch.get_rng_state()
    modes = [module.training for module in model.modules()]
    found = thinnet.audit(model, *example, ranks=True)
    assert torch.equal(state, torch.get_rng_state()) and modes == [module.training for module in model.modules()]
    for now, (then, _), value in zip(model.parameters(), before, values, strict=True):
        assert now is then and torch.equal(now.to_local() if hasattr(now, "to_local") else now, value)
    seen: list = [None] * dist.get_world_size()
    dist.all_gather_object(seen, str(found))
    assert len(set(seen)) == 1, seen  # every rank says the same
    return [finding.rule.code for finding in found]


def own(*shape: int) -> Tensor:
    """Data of this rank."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(100 + dist.get_rank()))


def same(*shape: int) -> Tensor:
    """Data of all ranks."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(100))


def plain_tensor_parallel(mesh: DeviceMesh) -> nn.Module:
    plan = {"*.up": ColwiseParallel(), "*.down": RowwiseParallel()}
    return parallelize_module(blocks(), mesh, plan)


def right(mesh: DeviceMesh) -> None:
    """No finding."""
    rank, mine, all_ids = dist.get_rank(), own(8, 16), torch.arange(8)
    torch.manual_seed(rank)
    for model in (blocks(), DistributedDataParallel(blocks()), fully_shard(blocks(), mesh=mesh)):
        assert codes(model, mine) == []
        assert codes(model, same(8, 16)) == []  # one example for all
        model(mine).sum().backward()  # it trains afterwards
    words = gpt.data()[0]
    model = sharded(mesh)
    thinnet.rng_of(model).at(3, torch.arange(rank, 64, 4)[:8])
    assert codes(model, words[rank::4][:8]) == []
    model(words[:8]).sum().backward()
    for make in (tensor_parallel_model, sequence_parallel_model):
        model = make(mesh)
        thinnet.rng_of(model).at(3, all_ids)
        assert codes(model, words[:8]) == [], make
        model(words[:8]).sum().backward()
    for order in ("contiguous", "zigzag"):
        model, positions = context_parallel_model(order, mesh)
        thinnet.rng_of(model).at(3, all_ids)
        assert codes(model, words[:8][:, positions], positions) == [], order


def wrong(mesh: DeviceMesh) -> None:
    """Each mistake alone."""
    rank, mine, ids = dist.get_rank(), own(8, 16), torch.arange(8)
    torch.manual_seed(0)
    assert set(codes(blocks(), mine)) == {"AUD402", "AUD404"}  # one seed
    assert codes(blocks(), same(8, 16)) == ["AUD402"]
    torch.manual_seed(rank)
    model = blocks().train(rank != 2)
    assert codes(model, mine) == ["AUD405"]
    model = blocks()
    model[1].drop.eval() if rank == 0 else model
    assert codes(model, mine) == ["AUD405"]
    model = blocks()
    model[1].drop.p = 0.1 + 0.1 * rank
    assert codes(model, mine) == ["AUD406"]
    assert codes(plain_tensor_parallel(mesh), same(8, 16)) == ["AUD403"] * 2  # copies of the residual branches differ
    torch.manual_seed(0)
    assert set(codes(plain_tensor_parallel(mesh), same(8, 16))) == {"AUD404"}  # parts of the hidden units share a mask
    model = gpt.build()
    thinnet.DropoutRNG(3).bind(model).at(0)  # and no ids
    assert set(codes(model, gpt.data()[0][rank::4][:8])) == {"AUD404"}
    thinnet.rng_of(model).at(0, ids + 8 * rank)
    assert codes(model, gpt.data()[0][rank::4][:8]) == []
    found = thinnet.audit(model, gpt.data()[0][rank::4][:8], ranks=True, allow={"AUD4": "none"})
    assert not found


CASES: tuple[Callable[[DeviceMesh], None], ...] = (right, wrong)

if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    whole = init_device_mesh("cpu", (dist.get_world_size(),))
    for case in CASES:
        case(whole)
    dist.barrier()
    dist.destroy_process_group()
