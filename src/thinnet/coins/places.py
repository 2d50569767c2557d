"""Going back to where a forward pass was: what activation checkpointing needs when backward comes after the clock went on."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import torch

from thinnet.coins.clock import Clock

CLOCK = ("step", "samples", "started", "rows_given")
CALLS = ("depth", "task", "pinned", "view", "view_key")


class Place:
    """All that a clock and its sites say of the names of coins at one moment."""

    def __init__(self, clock: Clock) -> None:
        self.clock = {name: getattr(clock, name) for name in CLOCK}
        self.tensors = dict(clock._tensors)
        self.calls = {name: getattr(clock.calls, name) for name in CALLS}
        self.sites = [(site, site.calls, site._p, site._buffers["rate"]) for site in clock.calls.sites]

    def restore(self, clock: Clock) -> None:
        """Brings a clock and its sites there."""
        vars(clock).update(self.clock)
        vars(clock)["_tensors"] = dict(self.tensors)
        vars(clock.calls).update(self.calls)
        for site, calls, p, rate in self.sites:
            site.calls, site._p, site._buffers["rate"] = calls, p, rate


class _Forward(AbstractContextManager[None]):
    """Notes the place at which a checkpointed part begins."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.place: Place | None = None

    def __enter__(self) -> None:
        self.place = Place(self.clock)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


class _Recomputation(AbstractContextManager[None]):
    """Goes to the place that was noted, and back."""

    def __init__(self, forward: _Forward) -> None:
        self.forward = forward
        self.here: list[Place] = []

    def __enter__(self) -> None:
        clock, place = self.forward.clock, self.forward.place
        assert place is not None
        self.here.append(Place(clock))
        place.restore(clock)
        clock.calls.task = torch._C._current_graph_task_id()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.here.pop().restore(self.forward.clock)


def recomputation(clock: Clock) -> tuple[Any, Any]:
    """Returns the two contexts of `torch.utils.checkpoint.checkpoint(..., context_fn=...)`."""
    forward = _Forward(clock)
    return forward, _Recomputation(forward)
