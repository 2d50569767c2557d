"""The memory of a training step: what a forward pass keeps for backward, and the peak."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

MARK = "thinnet: forward ends here"


def kept_and_peak(forward: Callable[[], Tensor], device: torch.device) -> tuple[int, int]:
    """Returns the bytes that exist more when `forward` has returned its loss, and the most until backward is done.

    On a CPU the allocations come from PyTorch's profiler, on a GPU from its allocator. Weights and their gradients that exist
    before do not count.
    """
    if device.type == "cuda":
        return _on_cuda(forward, device)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        loss = forward()
        with record_function(MARK):
            pass
        loss.backward()
        del loss
    return _summed(seen.profiler.kineto_results.events())  # type: ignore[union-attr]


def _on_cuda(forward: Callable[[], Tensor], device: torch.device) -> tuple[int, int]:
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    loss = forward()
    kept = torch.cuda.memory_allocated(device) - before
    loss.backward()
    return kept, torch.cuda.max_memory_allocated(device) - before


def _summed(events: list[Any]) -> tuple[int, int]:
    """Returns the sum of allocations at the mark, and its maximum over time."""
    held, kept, peak = 0, 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
        elif event.name() == MARK:
            kept = held
    return kept, peak
