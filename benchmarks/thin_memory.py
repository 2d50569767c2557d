"""The memory of a training step, from the allocations in PyTorch's profiler: exact and repeatable."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

MARK = "forward ends here"


def bytes_of(model: nn.Module, x: Tensor) -> tuple[int, int]:
    """Returns the bytes that a forward pass keeps for backward, and the peak of forward and backward.

    Weights and their gradients exist before and do not count.
    """
    for _ in range(2):
        model(x).square().mean().backward()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        loss = model(x).square().mean()
        with record_function(MARK):
            pass
        loss.backward()
        del loss
    return kept_and_peak(seen.profiler.kineto_results.events())  # type: ignore[union-attr]


def kept_and_peak(events: list[Any]) -> tuple[int, int]:
    """Returns the sum of allocations at the mark, and its maximum over time."""
    held, kept, peak = 0, 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
        elif event.name() == MARK:
            kept = held
    return kept, peak


if __name__ == "__main__":
    torch.manual_seed(0)
    print(bytes_of(nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 10)), torch.randn(512, 256)))
