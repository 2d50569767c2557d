"""The GPU that is measured and tested, or the CPU in its place in a rehearsal, which finds mistakes before time on a GPU runs.

`THINNET_REHEARSE=1` rehearses: times are those of a clock, a graph is what it would capture, and memory is not counted.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

REHEARSE = os.environ.get("THINNET_REHEARSE") == "1"
DEVICE = torch.device("cpu" if REHEARSE else "cuda")
MILLISECOND = 2_000_000  # clock cycles
missing = None if REHEARSE or torch.cuda.is_available() else "this machine has no GPU that PyTorch can use"


def synchronize() -> None:
    """Waits until the device has done all its work."""
    if not REHEARSE:
        torch.cuda.synchronize()


def microseconds(call: Callable[[], object], wait: int = 0) -> float:
    """Returns how long a call takes on the device, between two events.

    The device first waits `wait` clock cycles, so that all is launched before it begins.
    """
    if REHEARSE:
        begin = time.perf_counter()
        call()
        return (time.perf_counter() - begin) * 1e6
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(wait)
    start.record()
    call()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) * 1000


def times(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Returns the median microseconds of each candidate on the device; all take their turn in each round.

    Before each, the cache is overwritten and the device kept waiting until all is launched, so that a small tensor is not
    timed by the speed of Python.
    """
    cache = torch.empty(1 << (4 if REHEARSE else 26), dtype=torch.int32, device=DEVICE)
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        for _ in range(1 if REHEARSE else 3):
            call()
    for _ in range(rounds):
        for name, call in candidates.items():
            cache.zero_()
            found[name].append(microseconds(call, MILLISECOND))
    return {name: round(statistics.median(values), 2) for name, values in found.items()}


def launches(candidates: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Returns the microseconds that each call takes when many follow each other: Python, launch and device."""
    found, (rounds, calls) = {}, (2, 3) if REHEARSE else (7, 200)
    for name, call in candidates.items():
        values = []
        call()
        for _ in range(rounds):
            synchronize()
            start = time.perf_counter()
            for _ in range(calls):
                call()
            synchronize()
            values.append((time.perf_counter() - start) / calls * 1e6)
        found[name] = round(statistics.median(values), 1)
    return found


def flash() -> AbstractContextManager[Any]:
    """Lets PyTorch's attention use flash attention alone; a CPU has none with dropout."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return nullcontext() if REHEARSE else sdpa_kernel(SDPBackend.FLASH_ATTENTION)


def allocated() -> int:
    """Returns the bytes of all tensors on the device."""
    return 0 if REHEARSE else torch.cuda.memory_allocated()


def peak(call: Callable[[], object]) -> int:
    """Returns the bytes that a call takes at most beside what was there before."""
    if REHEARSE:
        call()
        return 0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return torch.cuda.max_memory_allocated() - before


def free() -> int:
    """Returns the bytes of the device that nobody uses."""
    return 1 << 30 if REHEARSE else torch.cuda.mem_get_info()[0]


def captured(work: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
    """Captures work in a CUDA graph after a warm-up on a stream of its own; returns its replay and its results."""
    if REHEARSE:
        results = tuple(y.detach().clone() for y in work())

        def replay() -> None:
            for old, new in zip(results, work(), strict=True):
                old.copy_(new.detach())

        return replay, results
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = work()
    return graph.replay, results


def compiled(model: Any, **options: Any) -> Any:
    """Compiles a model; a rehearsal leaves the code generator out."""
    if REHEARSE:
        options = {name: value for name, value in options.items() if name == "dynamic"} | {"backend": "aot_eager"}
    return torch.compile(model, fullgraph=True, **options)
