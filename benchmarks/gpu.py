"""Dropout on a GPU against a copy of the tensor and against PyTorch's: `python -m benchmarks.gpu`.

Times are the device's own, between two events. Before each, the cache is overwritten and the device kept waiting until all is
launched, so that a small tensor is not timed by the speed of Python. What a launch costs is a figure of its own.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

import thinnet
from benchmarks import device, tables
from benchmarks.device import DEVICE, REHEARSE
from benchmarks.measure import write
from thinnet.ops import apply_noise, schema

P = 0.5
SIZES = {"1 M": (1 << 20, 60), "16 M": (1 << 24, 40), "256 M": (1 << 28, 15), "1 G": (1 << 30, 9)}
if REHEARSE:
    SIZES = {"1 M": (1 << 12, 2)}
MILLISECOND = 2_000_000  # clock cycles
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
BARS = "bars: 90 % of copy bandwidth; forward + backward 1.2x faster than F.dropout; 0 bytes kept for backward"


def check(x: Tensor) -> None:
    """Refuses to time a path whose bits are wrong: the beginning, the end and some of the middle."""
    rate, seed = torch.tensor(32768, dtype=torch.int32), torch.tensor(7)
    y, part = apply_noise(x, rate.to(DEVICE), seed.to(DEVICE)), min(1 << 16, x.numel())
    for begin in (0, (x.numel() // 2) | 77, x.numel() - part):
        where = rate, seed, None, None, None, [1, begin], 0
        expected = schema.call(x[begin : begin + part].cpu(), *where)
        assert torch.equal(y[begin : begin + part].cpu(), expected), "the kernel disagrees with the CPU"


def times(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Returns the median microseconds of each candidate on the device; all take their turn in each round."""
    cache = torch.empty(1 << (4 if REHEARSE else 26), dtype=torch.int32, device=DEVICE)
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        for _ in range(3):
            call()
    for _ in range(rounds):
        for name, call in candidates.items():
            cache.zero_()
            found[name].append(device.microseconds(call, MILLISECOND))
    return {name: round(statistics.median(values), 2) for name, values in found.items()}


def launches(candidates: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Returns the microseconds that each call takes when many follow each other: Python, launch and device."""
    found = {}
    for name, call in candidates.items():
        rounds = []
        for _ in range(7):
            device.synchronize()
            start = time.perf_counter()
            for _ in range(200):
                call()
            device.synchronize()
            rounds.append((time.perf_counter() - start) / 200 * 1e6)
        found[name] = round(statistics.median(rounds), 1)
    return found


def kept_bytes(function: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Returns the bytes an element that stay on the device for backward, beside input and output."""
    function(x)
    before = device.allocated()
    y = function(x)
    return round((device.allocated() - before - y.numel() * y.element_size()) / x.numel(), 2)


def functions(x: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Returns every kind of dropout, as a function of the tensor."""
    torch._dynamo.reset()
    addressed = thinnet.nn.Dropout(P).to(DEVICE)
    thinnet.DropoutRNG(0).bind(addressed).at(1)
    rows = x.view(-1, 1024).shape
    return {
        "F.dropout": lambda x: F.dropout(x, P),
        "compiled F.dropout": device.compiled(lambda x: F.dropout(x, P), dynamic=False),
        "compiled thinnet": device.compiled(lambda x: thinnet.functional.dropout(x, P, training=True), dynamic=False),
        "thinnet": lambda x: thinnet.functional.dropout(x, P, training=True),
        "thinnet, addressed": lambda x: addressed(x.view(rows)).view(-1),
    }


def measure(size: str, dtype: str) -> list[dict[str, object]]:
    """Returns the rows of one size and dtype: forward, and forward with backward."""
    count, rounds = SIZES[size]
    x = torch.randn(count, device=DEVICE).to(DTYPES[dtype])
    check(x)
    y, gradient, leaf = torch.empty_like(x), torch.randn_like(x), x.clone().requires_grad_()
    forward: dict[str, Callable[[], object]] = {"copy": lambda: y.copy_(x)}
    both: dict[str, Callable[[], object]] = {"copy": lambda: (y.copy_(x), y.copy_(gradient))}
    kept = {}
    for name, function in functions(x).items():
        forward[name] = lambda function=function: function(x)
        both[name] = lambda function=function: torch.autograd.grad(function(leaf), leaf, gradient)
        kept[name] = kept_bytes(function, leaf)
    found: list[dict[str, object]] = []
    for label, candidates, moved in (("forward", forward, 2), ("forward + backward", both, 4)):
        micro = times(candidates, rounds)
        row: dict[str, object] = {"elements": size, "dtype": dtype, "pass": label, "microseconds": micro}
        row["GB/s"] = round(moved * x.numel() * x.element_size() / micro["thinnet"] / 1000)
        row["% of copy bandwidth"] = round(100 * micro["copy"] / micro["thinnet"], 1)
        row["times faster than F.dropout"] = round(micro["F.dropout"] / micro["thinnet"], 2)
        if size == "1 M":
            row["microseconds a call from Python"] = launches(candidates)
        found.append(row | {"bytes kept an element": kept})
    return found


def tiles(size: str) -> list[dict[str, object]]:
    """Returns a row for each size of a program: what it reads, and by how many warps. The rows decide `launch.TILE_BYTES`."""
    from thinnet.ops.triton import launch

    x = torch.randn(SIZES[size][0], device=DEVICE).bfloat16()
    y, rate, seed = torch.empty_like(x), torch.tensor(32768, dtype=torch.int32, device=DEVICE), torch.tensor(7, device=DEVICE)

    def noise(tile: int, warps: int) -> None:
        with patch.object(launch, "TILE_BYTES", tile), patch.object(launch, "COMPILED", launch.COMPILED | {"num_warps": warps}):
            with patch.object(launch, "_launches", kept.setdefault((tile, warps), {})):
                apply_noise(x, rate, seed)

    kept: dict[tuple[int, int], dict[object, object]] = {}
    candidates = {f"{tile} B, {warps} warps": partial(noise, tile, warps) for tile in (4096, 8192, 16384) for warps in (4, 8)}
    micro = times({"copy": partial(y.copy_, x), **candidates}, SIZES[size][1])
    return [
        {"elements": size, "program": name, "% of copy bandwidth": round(100 * micro["copy"] / micro[name], 1)}
        for name in candidates
    ]


def main() -> int:
    """Measures what fits on the GPU, writes benchmarks/results/gpu.json and prints it; returns the exit status."""
    if reason := device.missing or (None if REHEARSE else thinnet.ops.why("cuda")):
        print(f"benchmarks.gpu: {reason}.", file=sys.stderr)
        return 2
    rows: list[dict[str, object]] = []
    for size, (count, _) in SIZES.items():
        for dtype, kind in DTYPES.items():
            if device.free() >= 9 * count * kind.itemsize + (0 if REHEARSE else 1 << 30):
                rows += measure(size, dtype)
                torch.cuda.empty_cache()
                write("gpu", rows)
    programs = [row for size in (("1 M",) if REHEARSE else ("16 M", "256 M")) for row in tiles(size)]
    write("gpu_tiles", programs)
    print(tables.gpu(), BARS, *programs, sep="\n")
    for row in rows:
        print({name: value for name, value in row.items() if name != "microseconds"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
