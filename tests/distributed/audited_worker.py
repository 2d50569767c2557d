"""One rank for test_audited.py: audits of right and of wrong models between four ranks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import gpt
import torch
import torch.distributed as dist
import torch.nn.functional as F
from equality_worker import (
    context_parallel_model,
    sequence_parallel_model,
    sharded,
    stage_model,
    tensor_parallel_model,
)
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
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


def codes(model: nn.Module, *example: Tensor, run: Callable[[nn.Module], Any] | None = None) -> list[str]:
    """The codes of an audit, which changes nothing."""
    before = [(p, p.to_local() if hasattr(p, "to_local") else p) for p in model.parameters()]
    values, state = [local.detach().clone() for _, local in before], torch.get_rng_state()
    modes = [module.training for module in model.modules()]
    found = thinnet.audit(model, *example, ranks=True, run=run)
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

    model = nn.Sequential(nn.Linear(16, 16), thinnet.nn.LockedDropout(0.3, batch_first=True), nn.Linear(16, 4))
    for parameter in model.parameters():
        dist.broadcast(parameter.data, 0)
    thinnet.DropoutRNG(7).bind(model).at(3, all_ids)
    assert codes(model, same(8, 32, 16)[:, rank::4]) == []  # the steps of a sequence share their mask


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


def grid(mesh: DeviceMesh) -> None:
    """Two copies of a model that two ranks share: data parallel by tensor parallel."""
    both = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    copy, part = (both.get_local_rank(name) for name in ("data", "tensor"))
    ids, words = torch.arange(copy, 16, 2), gpt.data()[0]
    torch.manual_seed(copy)
    for make in (tensor_parallel_model, sequence_parallel_model):
        model = make(both["tensor"])
        for layer in (*model.layers.values(), model) if make is tensor_parallel_model else ():
            fully_shard(layer, mesh=both["data"])
        rng = thinnet.rng_of(model).at(3, ids)
        assert codes(model, words[ids]) == [], make
        assert codes(model, words[:8]) == [], make  # one example for all: other copies have other masks
        rng.at(3, torch.arange(8))  # the ids of the rows here, and not of the data set
        assert set(codes(model, words[ids])) == {"AUD404"}, make
    model = tensor_parallel_model(both["tensor"])
    thinnet.rng_of(model).at(3, ids)
    model.layers["1"].forward_drop.p = 0.1 if part else 0.2  # type: ignore[union-attr]
    assert set(codes(model, words[ids])) == {"AUD403", "AUD406"}  # other rates make other masks
    model = tensor_parallel_model(both["tensor"]).train(copy == 0)
    thinnet.rng_of(model).at(3, ids)
    assert codes(model, words[ids]) == ["AUD405"]
    torch.manual_seed(dist.get_rank())
    assert codes(plain_tensor_parallel(both["tensor"]), same(16, 16)[ids]) == ["AUD403"] * 2


def stages(mesh: DeviceMesh) -> None:
    """Two copies of a pipeline of two stages: data parallel by pipeline parallel."""
    both = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "stage"))
    copy, number = (both.get_local_rank(name) for name in ("data", "stage"))
    ids, words = torch.arange(copy, 16, 2), gpt.data()[0]
    model = stage_model(both["stage"], gpt.LAYERS)
    rng = thinnet.DropoutRNG(7).bind(model).at(3, ids)
    stage = PipelineStage(model, number, 2, torch.device("cpu"), group=both.get_group("stage"))
    schedule = ScheduleGPipe(stage, 1)

    def run(model: nn.Module) -> Any:
        return schedule.eval(*([words[ids]] if number == 0 else []))

    assert codes(model, run=run) == []
    model.layers[str(number)].forward_drop.p = 0.1 + 0.1 * copy  # type: ignore[union-attr]
    assert codes(model, run=run) == ["AUD406"] * 2  # one in each stage
    model.layers[str(number)].forward_drop.p = 0.1 + 0.1 * number  # type: ignore[union-attr]
    assert codes(model, run=run) == []  # stages may have other rates
    rng.at(3, torch.arange(8))
    assert set(codes(model, run=run)) == {"AUD404"}
    torch.manual_seed(dist.get_rank())
    alike = blocks()  # the stages have the same names inside, and other rates and modes
    alike[0].drop.p = 0.1 + 0.1 * number
    alike[1].drop.train(number == 0)
    for parameter in alike.parameters():
        parameter.data += number
    assert codes(alike, own(8, 16)) == []
    assert codes(alike, run=lambda model: [model(own(8, 16)), None][1]) == []  # stages hand their output on, and return none


CASES: tuple[Callable[[DeviceMesh], None], ...] = (right, wrong, grid, stages)

if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    whole = init_device_mesh("cpu", (dist.get_world_size(),))
    for case in CASES:
        case(whole)
    dist.barrier()
    dist.destroy_process_group()
