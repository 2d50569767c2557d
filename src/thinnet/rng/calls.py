"""Call counter: a module that a forward pass uses twice has calls 0 and 1. Views are numbered too.

    key = seed ^ mix(call) ^ mix(2^32 view),  mix = the last step of SplitMix64, mix(0) = 0

Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators" (OOPSLA), with the constants of Stafford's variant 13.
`mix` is a bijection of 64 bits, so two calls, or two views, of one seed never have the same key.
"""

import threading
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling

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


class Pass:
    """The forward pass that runs in one thread."""

    def __init__(self) -> None:
        self.depth = 0
        self.task = -1  # the backward pass that this forward pass runs in, if it recomputes a whole model
        self.pinned: int | None = None
        self.view = 0
        self.view_key: Tensor | None = None  # a tensor, so that another view does not recompile


class PassOfThread(threading.local):
    """One `Pass` for each thread."""

    def __init__(self) -> None:
        self.now = Pass()


class _Count:
    def __init__(self) -> None:
        self.calls = 0


class _CountOfThread(threading.local):
    def __init__(self) -> None:
        self.now = _Count()


class Uses:
    """How often the forward pass that runs, or the last one, has used a site: in this thread, and the most in any."""

    def __init__(self) -> None:
        self.most = 0
        self._of_thread = _CountOfThread()

    @property
    def here(self) -> _Count:
        """The count of this thread."""
        return self._of_thread.now


class _Roots(threading.local):
    def __init__(self) -> None:
        self.running: list[nn.Module | None] = []


roots = _Roots()  # the bound models whose forward pass runs in this thread


class CallCounter:
    """Counts how often one forward pass of a bound model uses each of its sites. Each thread counts for itself.

    Outside a forward pass of the model a site takes call 0: where a part is called by itself, and where checkpointing
    recomputes it. If the last forward pass used the site several times, that is refused as ambiguous.
    """

    def __init__(self) -> None:
        self.sites: list[Any] = []
        self.views: set[int] = set()
        self._of_thread = PassOfThread()
        self._running = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Makes a copy count anew."""
        return CallCounter, ()

    @property
    def now(self) -> Pass:
        """The forward pass of this thread."""
        return self._of_thread.now

    @property
    def depth(self) -> int:
        """How many forward passes of the model are nested in this thread."""
        return self._of_thread.now.depth

    @property
    def view_key(self) -> Tensor | None:
        """What a view adds to the seed."""
        return self._of_thread.now.view_key

    def begin(self, module: nn.Module | None = None, args: Any = None) -> None:
        """Starts a forward pass of the model, unless one is running."""
        now = self._of_thread.now
        if now.depth == 0:
            alone = True
            if is_dynamo_compiling():
                from thinnet.rng import compiling

                compiling.comptime(compiling.forget)
            else:
                now.task = torch._C._current_graph_task_id()
                self.views.add(now.view)
                roots.running.append(module if self.sites else None)
                alone = self._started(1)
            for site in self.sites:
                uses = site.uses
                uses.here.calls = 0
                if alone:
                    uses.most = 0
        now.depth += 1

    def end(self, module: nn.Module | None = None, args: Any = None, output: Any = None) -> None:
        """Ends a forward pass of the model, also one that failed."""
        now = self._of_thread.now
        if now.depth == 1:
            self._close()
        now.depth = max(0, now.depth - 1)

    def settle(self, alone: bool) -> None:
        """Forgets a forward pass that was cut off, and the views of the last step if no other thread has set a step."""
        now = self._of_thread.now
        if now.depth:
            self._close()
        now.depth = 0
        if alone:
            self.views = set()

    def _close(self) -> None:
        if not is_dynamo_compiling():
            self._started(-1)
            if roots.running:
                roots.running.pop()

    def _started(self, by: int) -> bool:
        """Counts the passes of all threads; returns whether none was running."""
        with self._lock:
            before = self._running
            self._running = max(0, before + by)
        return before == 0

    def number(self, site: Any) -> int:
        """Returns the number of this call of a site, and counts it.

        Raises: RuntimeError outside a forward pass, where the call or the view is not known.
        """
        now = self._of_thread.now
        if is_dynamo_compiling():
            running, recomputing = now.depth > 0, False
        else:
            task = torch._C._current_graph_task_id()
            running, recomputing = now.depth > 0 and task == now.task, task != -1
        call = self._count(site) if running else None
        if now.pinned is not None:  # it counts as a use all the same
            return now.pinned
        if call is not None:
            return call
        if recomputing and self.views - {now.view}:
            raise RuntimeError(
                f"site {site.name!r}: it is recomputed for backward, and several views have run at this step."
                " Pass context_fn=rng.recompute to torch.utils.checkpoint.checkpoint."
            )
        if site.uses.most > 1:
            raise RuntimeError(
                f"site {site.name!r}: the last forward pass used it {site.uses.most} times, and here, outside of one, its call"
                " is not known. Use `with rng.call(k):`, or checkpoint(..., context_fn=rng.recompute)."
            )
        return 0

    def _count(self, site: Any) -> int:
        """Counts a use. In a compiled checkpointed part, which may not write to what is outside, the compiler counts."""
        before, inside = 0, False
        if is_dynamo_compiling():
            from thinnet.rng import compiling

            compiling.comptime(compiling.note)
            before, inside = compiling.noted()
        uses = site.uses
        here = uses.here
        call = here.calls + before
        if not inside:
            here.calls += 1
            if here.calls > uses.most:
                uses.most = here.calls
        return call


class Pinned:
    """A context in which every site takes call `call`."""

    def __init__(self, calls: CallCounter, call: int) -> None:
        self.calls, self.call = calls, call
        self.before: list[int | None] = []

    def __enter__(self) -> None:
        now = self.calls.now
        self.before.append(now.pinned)
        now.pinned = self.call

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.calls.now.pinned = self.before.pop()


class Viewed:
    """A context in which the masks are those of view `view`."""

    def __init__(self, calls: CallCounter, view: int) -> None:
        self.calls, self.view = calls, view
        self.key = torch.tensor(mix(view << 32)) if view else None
        self.before: list[tuple[int, Tensor | None]] = []

    def __enter__(self) -> None:
        now = self.calls.now
        self.before.append((now.view, now.view_key))
        now.view, now.view_key = self.view, self.key

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        now = self.calls.now
        now.view, now.view_key = self.before.pop()


class Running:
    """A context that counts as one forward pass of the model."""

    def __init__(self, calls: CallCounter) -> None:
        self.calls = calls

    def __enter__(self) -> None:
        self.calls.begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.calls.end()
