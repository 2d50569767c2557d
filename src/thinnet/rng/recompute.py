"""Going back to where a forward pass was: what activation checkpointing needs when backward comes after the clock went on."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import torch

from thinnet.rng.context import RNGContext

CLOCK = ("step", "samples", "started", "rows_given")
CALLS = ("depth", "task", "pinned", "view", "view_key")


class Place:
    """All that a clock and its sites say of the names of coins at one moment."""

    def __init__(self, context: RNGContext) -> None:
        self.context = {name: getattr(context, name) for name in CLOCK}
        self.tensors = dict(context._tensors)
        self.calls = {name: getattr(context.calls, name) for name in CALLS}
        self.sites = [(site, site.calls, site._p, site._buffers["rate"]) for site in context.calls.sites]

    def restore(self, context: RNGContext) -> None:
        """Brings a clock and its sites there."""
        vars(context).update(self.context)
        vars(context)["_tensors"] = dict(self.tensors)
        vars(context.calls).update(self.calls)
        for site, calls, p, rate in self.sites:
            site.calls, site._p, site._buffers["rate"] = calls, p, rate


class _Forward(AbstractContextManager[None]):
    """Notes the place at which a checkpointed part begins."""

    def __init__(self, context: RNGContext) -> None:
        self.context = context
        self.place: Place | None = None

    def __enter__(self) -> None:
        self.place = Place(self.context)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


class _Recomputation(AbstractContextManager[None]):
    """Goes to the place that was noted, and back."""

    def __init__(self, forward: _Forward) -> None:
        self.forward = forward
        self.here: list[Place] = []

    def __enter__(self) -> None:
        context, place = self.forward.context, self.forward.place
        assert place is not None
        self.here.append(Place(context))
        place.restore(context)
        context.calls.task = torch._C._current_graph_task_id()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.here.pop().restore(self.forward.context)


def recomputation(context: RNGContext) -> tuple[Any, Any]:
    """Returns the two contexts of `torch.utils.checkpoint.checkpoint(..., context_fn=...)`."""
    forward = _Forward(context)
    return forward, _Recomputation(forward)
