"""Trains the small GPT on 8, 4 and 2 processes in each way for test_equality.py, and writes what each process has seen."""

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import gpt
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor import parallel as tp
from torch.nn.parallel import DistributedDataParallel

import thinnet
from thinnet.distributed import DropoutParallel, ring_positions, take_sample_ids
from thinnet.ops.part import Part

Seen = dict[str, Any]


def shared_batch(mesh: DeviceMesh) -> Callable[[Tensor], Tensor]:
    """Each rank takes its share of the ids."""
    return lambda ids: ids[mesh.get_local_rank() :: mesh.size()]


def data_parallel(mesh: DeviceMesh) -> Seen:
    model = gpt.build()
    thinnet.DropoutRNG(7).bind(model)
    return gpt.train(model, DistributedDataParallel(model), rows=shared_batch(mesh))


def sharded(mesh: DeviceMesh) -> gpt.GPT:
    model = gpt.build()
    for layer in (*model.layers.values(), model):
        fully_shard(layer, mesh=mesh)
    thinnet.DropoutRNG(7).bind(model)
    return model


def fully_sharded(mesh: DeviceMesh) -> Seen:
    model = sharded(mesh)
    return gpt.train(model, model, rows=shared_batch(mesh))


def tensor_parallel_model(mesh: DeviceMesh) -> gpt.GPT:
    model = gpt.build()
    thinnet.DropoutRNG(7).bind(model)
    layer = {
        **{f"attention.w{name}": tp.ColwiseParallel() for name in "qkv"},
        "attention.dropout": DropoutParallel(1),
        "attention.wo": tp.RowwiseParallel(),
        "feed_forward.up": tp.ColwiseParallel(),
        "feed_forward.dropout": DropoutParallel(-1),
        "feed_forward.down": tp.RowwiseParallel(),
    }
    tp.parallelize_module(model, mesh, {f"layers.*.{name}": style for name, style in layer.items()})
    return model


def tensor_parallel(mesh: DeviceMesh) -> Seen:
    model = tensor_parallel_model(mesh)
    return gpt.train(model, model) | {"cuts": units(mesh)}


def sequence_parallel_model(mesh: DeviceMesh) -> gpt.GPT:
    model = gpt.build()
    thinnet.DropoutRNG(7).bind(model)
    rows = tp.RowwiseParallel(output_layouts=Shard(1))
    drop = tp.SequenceParallel(use_local_output=True)
    gathered = {"input_layouts": (Shard(1),), "desired_input_layouts": (Replicate(),)}
    layer = {
        "attention_norm": tp.SequenceParallel(),
        "attention": tp.PrepareModuleInput(input_layouts=(Shard(1), None), desired_input_layouts=(Replicate(), None)),
        **{f"attention.w{name}": tp.ColwiseParallel() for name in "qkv"},
        "attention.dropout": DropoutParallel(1),
        "attention.wo": rows,
        "attention_drop": drop,
        "forward_norm": tp.SequenceParallel(),
        "feed_forward": tp.PrepareModuleInput(**gathered),
        "feed_forward.up": tp.ColwiseParallel(),
        "feed_forward.dropout": DropoutParallel(-1),
        "feed_forward.down": rows,
        "forward_drop": drop,
    }
    plan = {
        "embedding": tp.PrepareModuleOutput(output_layouts=Replicate(), desired_output_layouts=Shard(1)),
        "drop": drop,
        **{f"layers.*.{name}": style for name, style in layer.items()},
        "norm": tp.SequenceParallel(),
        "head": tp.ColwiseParallel(input_layouts=Shard(1), output_layouts=Replicate()),
    }
    tp.parallelize_module(model, mesh, plan)
    return model


def sequence_parallel(mesh: DeviceMesh) -> Seen:
    model = sequence_parallel_model(mesh)
    part = Part(1, mesh.get_local_rank(), mesh.size()).positions(gpt.LENGTH // mesh.size())
    return gpt.train(model, model) | {"cuts": {**units(mesh), "drop": (0, part)}}


def units(mesh: DeviceMesh) -> dict[str, tuple[int, Tensor]]:
    """The heads and the hidden units of this rank: the axis of the mask of a sample, and the indices."""
    size, rank = mesh.size(), mesh.get_local_rank()
    cut = {"attention.dropout": (0, gpt.HEADS), "feed_forward.dropout": (1, gpt.HIDDEN)}
    return {name: (axis, torch.arange(whole).chunk(size)[rank]) for name, (axis, whole) in cut.items()}


def context_parallel_model(order: Any, mesh: DeviceMesh) -> tuple[gpt.GPT, Tensor]:
    """The model, and the positions of this rank."""
    model = gpt.build()
    thinnet.DropoutRNG(7).bind(model)
    for layer in model.layers.values():
        layer.attention.order = order
    rows = DropoutParallel(1, order=order)
    tp.parallelize_module(model, mesh, {"drop": rows, "layers.*.*_drop": rows, "layers.*.feed_forward.dropout": rows})
    return model, ring_positions(gpt.LENGTH, order=order)


def context_parallel(order: Any, mesh: DeviceMesh) -> Seen:
    model, positions = context_parallel_model(order, mesh)
    seen = gpt.train(model, DistributedDataParallel(model), positions=positions)
    cuts = {"attention.dropout": (1, positions), "feed_forward.dropout": (0, positions), "drop": (0, positions)}
    return seen | {"cuts": cuts, "positions": positions}


def stage_model(mesh: DeviceMesh, layers: int = gpt.STAGES) -> gpt.GPT:
    """The whole layers of this rank, under the names that they have in the whole model."""
    rank, ranks = mesh.get_local_rank(), mesh.size()
    model = gpt.build(layers)
    mine = {str(number) for number in torch.arange(layers).chunk(ranks)[rank].tolist()}
    for name in [name for name in model.layers if name not in mine]:
        del model.layers[name]
    if rank > 0:
        model.embedding = model.drop = None
    if rank < ranks - 1:
        model.norm = model.head = None
    return model


def pipeline(mesh: DeviceMesh) -> Seen:
    """Stages of whole layers, and microbatches of one sample."""
    rank, ranks = mesh.get_local_rank(), mesh.size()
    model = stage_model(mesh)
    rng = thinnet.DropoutRNG(7).bind(model)
    take_sample_ids(model)
    schedule = Schedule1F1B(PipelineStage(model, rank, ranks, torch.device("cpu")), gpt.BATCH, loss_fn=gpt.loss)
    record, optimiser = gpt.Record(model, rng), gpt.optimizer(model)
    (x, y), losses, first = gpt.data(), [], {}
    for step in range(gpt.STEPS):
        ids, values = gpt.batch(step), []
        rng.at(step)
        inputs, targets = ([x[ids]] if rank == 0 else []), ({"target": y[ids], "losses": values} if rank == ranks - 1 else {})
        logits = schedule.step(*inputs, sample_ids=ids, **targets)
        losses += [torch.stack(values).mean().item()] if values else []
        if not first:
            found = {} if logits is None else dict(zip(ids.tolist(), logits.detach(), strict=True))
            first = {"logits": found, "gradients": gpt.gradients(model)}
        optimiser.step()
        optimiser.zero_grad()
    return {"masks": record.masks, "losses": losses, **first, "weights": gpt.weights(model)}


class Run:
    """Model, optimiser and rng of a run, as a checkpoint holds them."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.optimiser, self.rng = model, gpt.optimizer(model), thinnet.rng.rng_of(model)

    def state_dict(self) -> dict[str, Any]:
        model, optimiser = get_state_dict(self.model, self.optimiser)
        return {"model": model, "optimiser": optimiser, "rng": self.rng.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        set_state_dict(self.model, self.optimiser, model_state_dict=state["model"], optim_state_dict=state["optimiser"])
        self.rng.load_state_dict(state["rng"])


def saved(folder: Path, mesh: DeviceMesh) -> Seen:
    """The first half of the steps."""
    run = Run(sharded(mesh))
    seen = gpt.train(run.model, run.model, range(gpt.HALF), rows=shared_batch(mesh), optimiser=run.optimiser)
    dcp.save({"run": run}, checkpoint_id=folder / "checkpoint")
    return seen


def resumed(folder: Path, mesh: DeviceMesh) -> Seen:
    """The second half, from the step that the checkpoint names."""
    run = Run(sharded(mesh))
    dcp.load({"run": run}, checkpoint_id=folder / "checkpoint")
    steps = range((run.rng.step or 0) + 1, gpt.STEPS)
    return gpt.train(run.model, run.model, steps, rows=shared_batch(mesh), optimiser=run.optimiser)


def cases(ranks: int, folder: Path) -> Iterator[tuple[str, Callable[[DeviceMesh], Seen]]]:
    """What is trained on this number of ranks."""
    yield "data", data_parallel
    yield "fsdp", fully_sharded
    yield "tensor", tensor_parallel
    yield "sequence", sequence_parallel
    yield "pipeline", pipeline
    for order in ("contiguous", "zigzag"):
        yield order, partial(context_parallel, order)
    if ranks == gpt.COUNTS[0]:
        yield "saved", partial(saved, folder)
    if ranks == gpt.COUNTS[-1]:
        yield "resumed", partial(resumed, folder)


def work(rank: int, folder: Path) -> None:
    """One process. Those beyond the number of ranks have ended."""
    torch.set_num_threads(1)
    for ranks in gpt.COUNTS:
        if rank >= ranks:
            return
        store = dist.FileStore(str(folder / f"store{ranks}"), ranks)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=60))
        mesh = init_device_mesh("cpu", (ranks,))
        seen = {name: case(mesh) for name, case in cases(ranks, folder)}
        torch.save(seen, folder / f"{ranks}-{rank}.pt")
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    mp.start_processes(work, (Path(sys.argv[1]),), nprocs=gpt.COUNTS[0], start_method="fork")  # one import for all
