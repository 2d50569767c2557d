"""Applies noise to a DTensor: each rank draws its part of the one mask of the whole tensor.

The random bits of an element depend on its index in the whole tensor, and a shard knows where it begins. So the ranks of a
sharded tensor together draw the mask of one process, and the ranks of a replicated tensor draw the same. With addresses the
ranks exchange nothing. Without them each rank draws a seed, so that the generators stay in step, and the first rank of the mesh
broadcasts its own: one message a call, and a graph break in compiled code.

`ColwiseParallel` and others pass a plain local tensor to the next module unless `use_local_output=False`. Such a tensor does
not show which part it is: its units count from 0 on each rank, unless `thinnet.distributed.DropoutParallel` says which it is.
"""

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from torch import Tensor

from thinnet.ops.reference import Where

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(x: Tensor) -> bool:
    """Returns whether `x` is a DTensor, without importing what makes DTensors."""
    return hasattr(x, "placements") and hasattr(x, "device_mesh")


def part(x: "DTensor", where: Where, units: list[int], function: str) -> tuple[Tensor, Where, int]:
    """Returns the part of `x` on this rank, the address of the part, and the unit at which it begins.

    Args:
        x: placed by `Shard` and `Replicate`; the samples of `where` are those of the whole tensor.
        units: the unit strides of the whole tensor, which are those of the part too.

    Raises: TypeError where `x` is placed in another way, such as by `Partial`.
    """
    first = starts(x, function)
    local = local_of(x)
    address = address_of(x, where, first[0] if first else 0, len(local) if local.ndim else 1)
    if address[4] is not None:
        first[0] = 0
    return local, address, sum(start * stride for start, stride in zip(first, units, strict=True))


def address_of(x: "DTensor", where: Where, first: int, rows: int) -> Where:
    """Returns the address of the part of `x` on this rank, whose samples are `rows` rows from `first` on."""
    rate, seed, step, site, samples = (local_of(value) for value in where)
    assert rate is not None and seed is not None
    if step is None and site is None:
        seed = _agree(seed, x.device_mesh)
    if samples is not None:
        samples = samples + first if samples.numel() == 1 else samples[first : first + rows]
    return rate, seed, step, site, samples


def whole(y: Tensor, x: "DTensor") -> Tensor:
    """Returns the DTensor whose part on this rank is `y`, placed as `x` is."""
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(y, x.device_mesh, x.placements, run_check=False, shape=x.shape, stride=x.stride())


def starts(x: "DTensor", function: str) -> list[int]:
    """Returns the index along each axis at which the part of this rank begins."""
    from torch.distributed.tensor import Replicate, Shard

    here = x.device_mesh.get_coordinate()
    first, sizes = [0] * x.ndim, list(x.shape)
    for placement, ranks, rank in zip(x.placements, x.device_mesh.shape, here or (), strict=True):
        if type(placement) is Shard:  # as torch.chunk cuts: equal chunks, the last ones smaller or empty
            axis, chunk = placement.dim, -(-sizes[placement.dim] // ranks)
            start = min(rank * chunk, sizes[axis])
            first[axis], sizes[axis] = first[axis] + start, min(chunk, sizes[axis] - start)
        elif type(placement) is not Replicate:
            raise TypeError(
                f"{function}: x must be placed by Shard or Replicate; got {placement}."
                " Call x.redistribute(placements=[Replicate()]) first."
            )
    return first


def local_of(value: Any) -> Any:
    """Returns the local tensor of a DTensor, and anything else as it is.

    What is still on its way is waited for where it is read: to wait here would cut it off from autograd.
    """
    return value.to_local() if value is not None and is_sharded(value) else value


def _agree(seed: Tensor, mesh: Any) -> Tensor:
    """Returns the seed that the first rank of the mesh drew, so that replicas have the same mask without an address."""
    if torch.compiler.is_compiling():
        torch._dynamo.graph_break("the ranks agree on a seed; addressed masks need none, see thinnet.DropoutRNG")
    seed = seed.clone()
    for axis in range(mesh.ndim):
        torch.distributed.broadcast(seed, group=mesh.get_group(axis), group_src=0)
    return seed
