"""Puts back the RNG context of a forward pass, where checkpointing recomputes after the context has gone on."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import torch

from thinnet.rng.context import Place, RNGContext


class Snapshot:
    """The RNG context and its sites at one moment of one thread."""

    def __init__(self, context: RNGContext) -> None:
        self.own, self.place = context._own.place, context.place
        self.calls = dict(vars(context.calls.now))
        self.sites = [(site, site.uses.here.calls, site.uses.most, site._p, site._rates) for site in context.calls.sites]

    def restore(self, context: RNGContext, place: Place | None) -> None:
        """Puts it back into this thread."""
        context._own.place = place
        vars(context.calls.now).update(self.calls)
        for site, here, most, p, rates in self.sites:
            site.uses.here.calls, site.uses.most, site._p, site._rates = here, most, p, rates


class _Forward(AbstractContextManager[None]):
    """Takes a snapshot where a checkpointed part begins."""

    def __init__(self, context: RNGContext) -> None:
        self.context = context
        self.snapshot: Snapshot | None = None

    def __enter__(self) -> None:
        self.snapshot = Snapshot(self.context)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


class _Recomputation(AbstractContextManager[None]):
    """Restores the snapshot of the forward pass, and the present afterwards."""

    def __init__(self, forward: _Forward) -> None:
        self.forward = forward
        self.present: list[Snapshot] = []

    def __enter__(self) -> None:
        context, snapshot = self.forward.context, self.forward.snapshot
        assert snapshot is not None
        self.present.append(Snapshot(context))
        snapshot.restore(context, snapshot.place)
        context.calls.now.task = torch._C._current_graph_task_id()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        present = self.present.pop()
        present.restore(self.forward.context, present.own)


def recomputation(context: RNGContext) -> tuple[Any, Any]:
    """Returns the two contexts of `torch.utils.checkpoint.checkpoint(..., context_fn=...)`."""
    forward = _Forward(context)
    return forward, _Recomputation(forward)
