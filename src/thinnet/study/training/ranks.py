"""One training over the ranks of `torchrun`: each takes a part of every batch, and the gradients are added.

Rank 0 runs the study and decides what is trained; the other ranks train the same trial. Masks have the address of the sample,
so the gradients are those of one process, to rounding. `DistributedDataParallel` refuses the steps in which a layer is dropped.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from thinnet.methods.elementwise.batchwise_dropout import BatchwiseDropout
from thinnet.study.data.dataset import Dataset
from thinnet.study.design.plan import StudyError
from thinnet.study.options import rank_and_ranks
from thinnet.study.training.batch_norm import over_ranks

FOREVER, PATIENCE = timedelta(days=30), timedelta(seconds=20)
"""How long a rank waits for the next trial, and for the others after an error."""


class Ranks:
    """The ranks of this run.

    Args:
        rank: of this process, from 0.
        size: the number of ranks.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.whole, self.copies, self._rows = False, 1, 0
        self._trials, self.training = 0, False
        self._sent: Dataset | None = None

    @property
    def device(self) -> int:
        """The number of this rank among those of its machine."""
        return rank_and_ranks("LOCAL_")[0]

    def prepare(self, network: nn.Module, by_sample: bool) -> None:
        """Lets batch normalisation see the whole batch; where masks depend on the batch, each rank computes all of it."""
        self.whole = not by_sample or any(isinstance(module, BatchwiseDropout) for module in network.modules())
        if not self.whole:
            over_ranks(network, lambda: self.copies)

    def part(self, rows: Tensor) -> Tensor:
        """Returns this rank's rows of a batch; all of them where there are fewer rows than ranks."""
        whole = self.whole or len(rows) < self.size
        self.copies, self._rows = self.size if whole else 1, len(rows)
        return rows if whole else rows.tensor_split(self.size)[self.rank]

    def mean(self, losses: Tensor) -> Tensor:
        """Returns what this rank adds to the mean loss of the batch."""
        return losses.sum() / (self.copies * self._rows)

    def sum_gradients(self, network: nn.Module) -> None:
        """Adds the gradients of all ranks. A parameter that no rank uses, as in a step without its layer, has none."""
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        used = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.int32, device=weights[0].device)
        dist.all_reduce(used, dist.ReduceOp.MAX)
        weights = [weight for weight, some in zip(weights, used.tolist(), strict=True) if some]
        parts = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        total = torch.cat([part.flatten() for part in parts])
        dist.all_reduce(total)
        for weight, part in zip(weights, total.split([part.numel() for part in parts]), strict=True):
            weight.grad = part.view_as(weight).to(weight.dtype)

    def scores(self, score: Callable[[slice], tuple[Tensor, Tensor]], rows: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the loss and the error of every row, of which each rank computes a part."""
        ends = [rows * each // self.size for each in (self.rank, self.rank + 1)]
        found = like.new_zeros((2, rows), dtype=torch.float64)
        if ends[0] < ends[1]:
            found[:, slice(*ends)] = torch.stack(score(slice(*ends)))
        dist.all_reduce(found)
        return found[0], found[1]

    def announce(self, data: Dataset, *trial: Any) -> None:
        """Lets the other ranks train the same trial; the data travel once."""
        if self.rank == 0:
            dist.broadcast_object_list([(None if data is self._sent else data, *trial)])
            self._sent = data
        self._trials, self.training = self._trials + 1, True

    def orders(self) -> Iterator[tuple[Any, ...]]:
        """Yields the trials that rank 0 announces, until it ends."""
        while True:
            box: list[Any] = [None]
            dist.broadcast_object_list(box)
            if box[0] is None:
                return
            self._sent = box[0][0] or self._sent
            yield self._sent, *box[0][1:]

    def check(self, reason: str) -> None:
        """Waits until every rank has failed in this trial.

        Raises:
            StudyError: another rank has not: the trial cannot be ended on all of them.
        """
        store, failed = dist.distributed_c10d._get_default_store(), [f"{self._trials} {each}" for each in range(self.size)]
        store.set(failed[self.rank], reason)
        with suppress(RuntimeError):  # not all of them fail in time
            store.wait(failed, PATIENCE)
            if not store.check(["lost"]):
                return
        first = store.compare_set("lost", "", f"rank {self.rank} with {reason}").decode()  # the others only lose their peer
        raise StudyError("torchrun", "every rank must live to the end", first, "Finished trials are kept.")


_ranks: Ranks | None = None


def current() -> Ranks | None:
    """Returns the ranks that train together; None for one process."""
    return _ranks


@contextmanager
def joined() -> Iterator[Ranks | None]:
    """Joins the ranks of `torchrun`; without it, or with one rank, this process is alone."""
    global _ranks
    rank, size = rank_and_ranks()
    if size == 1:
        yield None
        return
    dist.init_process_group(timeout=FOREVER)
    _ranks = Ranks(rank, size)
    try:
        yield _ranks
    finally:
        if rank == 0 and not _ranks.training:  # or the others wait for this rank's gradients: torchrun ends them
            with suppress(RuntimeError):  # a rank that is dead does not listen
                dist.broadcast_object_list([None])
        _ranks = None
        dist.destroy_process_group()
