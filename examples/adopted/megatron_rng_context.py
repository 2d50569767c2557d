"""Megatron-LM: dropout outside its RNG context under sequence parallelism, for 16 months (issue 1256).

Each rank holds a part of the sequence. Ranks that share the seed of the default generator draw the same mask for their parts,
so the whole sequence has a repeated mask. A context that forks the generator mends it, where it is used. With addresses there
is no state to fork: each unit has its own random bits, wherever it is computed.
"""

import torch
from torch import nn
from torch.distributed import init_process_group
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.multiprocessing import spawn

import thinnet

RANKS, LENGTH, WIDTH = 2, 8, 512


def rank_of_many(rank: int, store: str) -> None:
    """Return nothing; rank 0 prints what both ranks have drawn."""
    init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    part = torch.ones(1, LENGTH // RANKS, WIDTH)

    torch.manual_seed(1234)  # the same on all ranks, as for the weights
    plain = DTensor.from_local(nn.functional.dropout(part, 0.5, training=True), mesh, [Shard(1)]).full_tensor() != 0

    layer = thinnet.nn.Dropout(0.5)
    rng = thinnet.DropoutRNG(seed=0).bind(layer).at(step=7)
    addressed = layer(DTensor.from_local(part, mesh, [Shard(1)])).full_tensor() != 0
    one_device = rng.mask("", step=7, samples=[0], shape=(LENGTH, WIDTH))
    if rank == 0:
        halves = plain.chunk(RANKS, dim=1)
        print(f"broken: both halves of the sequence have one mask: {torch.equal(*halves)}")
        print(f"mended, they differ: {not torch.equal(*addressed.chunk(RANKS, dim=1))}")
        print(f"and the whole is the mask of one device: {torch.equal(addressed, one_device)}")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        spawn(rank_of_many, (f"{folder}/store",), nprocs=RANKS)
