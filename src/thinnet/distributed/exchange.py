"""Tensors that go around a ring of ranks."""

import torch
import torch.distributed as dist
from torch import Tensor


class Exchange:
    """Sends tensors to the next rank of a group while it receives those of the rank before.

    Args:
        tensors: what this rank sends; all ranks send the same shapes and dtypes.
        group: the ranks, in the order of the ring.
    """

    def __init__(self, tensors: list[Tensor], group: dist.ProcessGroup | None) -> None:
        self.sent = [x.contiguous() for x in tensors]
        self.received = [torch.empty_like(x) for x in self.sent]
        rank, ranks = dist.get_rank(group), dist.get_world_size(group)
        peers = [(rank + 1) % ranks, (rank - 1) % ranks]
        after, before = peers if group is None else [dist.get_global_rank(group, peer) for peer in peers]
        sends = [dist.P2POp(dist.isend, x, after, group) for x in self.sent]
        self.requests = dist.batch_isend_irecv(sends + [dist.P2POp(dist.irecv, x, before, group) for x in self.received])

    def wait(self) -> list[Tensor]:
        """Returns what the rank before has sent, in the order of `tensors`."""
        for request in self.requests:
            request.wait()
        return self.received


def agree(seed: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Returns the seed that the first rank of the group drew."""
    seed = seed.clone()
    dist.broadcast(seed, group=group, group_src=0)
    return seed
