"""One rank for test_ranks.py: trains in several ways and writes the results."""

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel
from training import Record, Tables, build, train, weights

import thinnet


def data_parallel(way: str, mesh: DeviceMesh) -> tuple[Tables, Tables]:
    """Each rank takes its share of a batch; the gradients are averaged."""
    model = build()
    rng, record = thinnet.DropoutRNG(7).bind(model), Record(model)
    if way == "fsdp":
        for layer in (model.first, model.last, model):
            fully_shard(layer, mesh=mesh)
    wrapped = DistributedDataParallel(model) if way == "ddp" else model
    ranks, rank = mesh.size(), mesh.get_local_rank()
    train(wrapped, rng, record, parts=lambda ids: [ids[rank::ranks]], scale=ranks)
    return weights(model), record.tables


def tensor_parallel(mesh: DeviceMesh) -> tuple[Tables, Tables]:
    """All ranks take the whole batch: replicated at the input, cut along the features between the two layers."""
    model = build()
    rng, record = thinnet.DropoutRNG(7).bind(model), Record(model)
    plan = {"first": ColwiseParallel(use_local_output=False), "last": RowwiseParallel(use_local_output=False)}
    parallelize_module(model, mesh, plan)
    train(model, rng, record, place=lambda x: distribute_tensor(x, mesh, [Replicate()]))
    return weights(model), record.tables


def run(layer: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor, object]:
    """The result and the gradient, whole, and the placements of the result."""
    x = x.detach().requires_grad_()
    y = layer(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    placed = y.placements if isinstance(y, DTensor) else None
    return *(t.full_tensor() if isinstance(t, DTensor) else t for t in (y.detach(), gradient)), placed


def placements(mesh: DeviceMesh) -> Tables:
    """Every method and placement, with sizes that do not divide; returns the results without addresses."""
    drawn: Tables = {}
    torch.manual_seed(mesh.get_local_rank())  # without addresses, masks must not rely on equal seeds
    full = torch.arange(1.0, 6 * 5 * 7 + 1).reshape(6, 5, 7)
    for method in ("Dropout", "GaussianDropout", "AlphaDropout", "Dropout1d"):
        for placement in (Replicate(), Shard(0), Shard(1), Shard(2)):
            layer = getattr(thinnet.nn, method)(0.5)
            part = distribute_tensor(full, mesh, [placement])
            drawn[f"{method} {placement}"] = layer(part).full_tensor()
            for ids in (torch.tensor([9, 1, 4, 4, 2, 7]), 30, None):
                rng = thinnet.DropoutRNG(3).bind(layer).at(4, ids)
                assert_same_result(layer, part, full, placement)
                rng.unbind()
    refuse(Partial(), full, mesh)
    return drawn


def assert_same_result(layer: torch.nn.Module, part: Tensor, full: Tensor, *placements: Placement) -> None:
    """A placed tensor and a plain one give the same result and gradient, bit by bit, with the same placements."""
    ours, expected = run(layer, part), run(layer, full)
    assert ours[2] == placements, (ours[2], placements)
    assert torch.equal(ours[0], expected[0]) and torch.equal(ours[1], expected[1]), (layer, placements)


def planes() -> None:
    """A mesh of two axes: an axis of the tensor for each, one for both, and one that only some ranks hold."""
    ranks = dist.get_world_size()
    mesh = init_device_mesh("cpu", (2, ranks // 2) if ranks > 2 else (1, ranks))
    full, layer = torch.randn(6, 5, 7), thinnet.nn.Dropout(0.5)
    dist.broadcast(full, 0)
    thinnet.DropoutRNG(3).bind(layer).at(4, torch.tensor([9, 1, 4, 4, 2, 7]))
    for pair in ((Shard(0), Shard(2)), (Shard(1), Shard(1)), (Replicate(), Shard(1)), (Shard(0), Shard(0))):
        assert_same_result(layer, distribute_tensor(full, mesh, pair), full, *pair)
        local = distribute_tensor(full.clone(), mesh, pair)
        layer.inplace = True
        assert layer(local) is local
        layer.inplace = False
        assert torch.equal(local.full_tensor(), layer(full))


def modules(mesh: DeviceMesh) -> None:
    """A distributed module, and compiled code."""
    full, ids = torch.ones(6, 24, dtype=torch.float64), torch.tensor([9, 1, 4, 4, 2, 7])
    plain, placed = build(), build()
    for model in (plain, placed):
        thinnet.DropoutRNG(3).bind(model).at(4, ids)
    distribute_module(placed, mesh)
    x = distribute_tensor(full, mesh, [Replicate()])
    compiled = torch.compile(placed, fullgraph=True)
    for way in (placed, compiled):
        torch.testing.assert_close(way(x).full_tensor(), plain(full), rtol=1e-12, atol=1e-12)
    placed.drop.p = plain.drop.p = 0.1
    torch.testing.assert_close(placed(x).full_tensor(), plain(full), rtol=1e-12, atol=1e-12)


def refuse(placement: Placement, full: Tensor, mesh: DeviceMesh) -> None:
    """A pending sum has no elements to drop."""
    try:
        thinnet.nn.Dropout(0.5)(DTensor.from_local(full, mesh, [placement]))
    except TypeError as error:
        assert "must be placed by Shard or Replicate" in str(error), error
    else:
        raise AssertionError(f"{placement} was not refused")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    try:
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        seen = {way: data_parallel(way, mesh) for way in ("ddp", "fsdp")}
        seen["tensor"] = tensor_parallel(mesh)
        planes()
        modules(mesh)
        torch.save({**seen, "drawn": placements(mesh)}, folder / f"{dist.get_rank()}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
