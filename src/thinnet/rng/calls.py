"""Which use of a site a toss is: a module used twice in one forward pass has a call 0 and a call 1, and a view is another pass.

    key of the coins = seed ^ mix(call) ^ mix(2^32 view),  mix = the last step of SplitMix64, mix(0) = 0

Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators" (OOPSLA), with the constants of Stafford's variant 13.
`mix` is a bijection of 64 bits: two calls, or two views, of one seed never have the same key.
"""

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

WORD = (1 << 64) - 1


def mix(number: int) -> int:
    """Returns a well mixed number as a signed 64-bit integer; 0 stays 0.

    >>> mix(0), mix(1) == mix(2)
    (0, False)
    """
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & WORD
    number ^= number >> 31
    return number - (1 << 64) if number >> 63 else number


class CallCounter:
    """Counts the uses of each site of a bound model within one forward pass of its root.

    Outside of a forward pass, that is where a part of the model is called by itself or where activation checkpointing
    recomputes it during backward, a site takes call 0, and is ambiguous if the last forward pass used it several times.
    """

    def __init__(self) -> None:
        self.sites: list[Any] = []
        self.depth = 0
        self.task = -1  # the backward pass that the forward pass runs in, if it does: a recomputation of the whole model
        self.pinned: int | None = None
        self.view = 0
        self.view_key: Tensor | None = None  # a tensor, so that nothing compiled is compiled again for each view
        self.views: set[int] = set()

    def begin(self, module: nn.Module | None = None, args: Any = None) -> None:
        """Starts a forward pass of the root, unless one is running."""
        if self.depth == 0:
            if torch.compiler.is_dynamo_compiling():
                from thinnet.rng import compiling

                compiling.comptime(compiling.forget)
            else:
                self.task = torch._C._current_graph_task_id()
                self.views.add(self.view)
            for site in self.sites:
                site.calls = 0
        self.depth += 1

    def end(self, module: nn.Module | None = None, args: Any = None, output: Any = None) -> None:
        """Ends a forward pass of the root, also one that failed."""
        self.depth = max(0, self.depth - 1)

    def settle(self) -> None:
        """Forgets a forward pass that was cut off, and the views that were asked for: the clock went on."""
        self.depth, self.views = 0, set()

    def number(self, site: Any) -> int:
        """Returns which call this use of a site is, and counts it.

        Raises:
            RuntimeError: it is used outside of a forward pass, and it cannot be known which call or view is meant.
        """
        if torch.compiler.is_dynamo_compiling():
            running, recomputing = self.depth > 0, False
        else:
            task = torch._C._current_graph_task_id()
            running, recomputing = self.depth > 0 and task == self.task, task != -1
        call = self._count(site) if running else None
        if self.pinned is not None:  # it counts as a use all the same
            return self.pinned
        if call is not None:
            return call
        if recomputing and self.views - {self.view}:
            raise RuntimeError(
                f"site {site.name!r}: it is recomputed for backward, and several views have run at this step."
                " Pass context_fn=rng.recompute to torch.utils.checkpoint.checkpoint."
            )
        if site.calls > 1:
            raise RuntimeError(
                f"site {site.name!r}: the last forward pass used it {site.calls} times, and here, outside of one, its call"
                " is not known. Use `with rng.call(k):`, or checkpoint(..., context_fn=rng.recompute)."
            )
        return 0

    def _count(self, site: Any) -> int:
        """Counts a use, also in code that is being compiled, where a checkpointed part may not write to what is outside of it.

        What such a part would write is counted by the compiler while it traces, and is a constant of the code that it makes.
        """
        before, inside = 0, False
        if torch.compiler.is_dynamo_compiling():
            from thinnet.rng import compiling

            compiling.comptime(compiling.note)
            before, inside = compiling.noted()
        call = site.calls + before
        if not inside:
            site.calls += 1
        return call


class Pinned:
    """A context in which every site takes call `call`."""

    def __init__(self, calls: CallCounter, call: int) -> None:
        self.calls, self.call = calls, call
        self.before: list[int | None] = []

    def __enter__(self) -> None:
        self.before.append(self.calls.pinned)
        self.calls.pinned = self.call

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.calls.pinned = self.before.pop()


class Viewed:
    """A context in which the coins are those of view `view`."""

    def __init__(self, calls: CallCounter, view: int) -> None:
        self.calls, self.view = calls, view
        self.key = torch.tensor(mix(view << 32)) if view else None
        self.before: list[tuple[int, Tensor | None]] = []

    def __enter__(self) -> None:
        self.before.append((self.calls.view, self.calls.view_key))
        self.calls.view, self.calls.view_key = self.view, self.key

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.calls.view, self.calls.view_key = self.before.pop()


class Running:
    """A context that counts as one forward pass of the root."""

    def __init__(self, calls: CallCounter) -> None:
        self.calls = calls

    def __enter__(self) -> None:
        self.calls.begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.calls.end()
