"""Dropout on a GPU against a copy of the tensor and against PyTorch's: `python -m benchmarks.gpu`.

Times are the device's own, between two events. What a launch costs is a figure of its own.
"""

import sys
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

import thinnet
from benchmarks import device, gpu_rows
from benchmarks.device import DEVICE, REHEARSE
from thinnet.ops import apply_noise, schema

P = 0.5
SIZES = {"1 M": (1 << 20, 60), "16 M": (1 << 24, 40), "256 M": (1 << 28, 15), "1 G": (1 << 30, 9)}
if REHEARSE:
    SIZES = {"1 M": (1 << 12, 2)}
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
        micro = device.times(candidates, rounds)
        row: dict[str, object] = {"elements": size, "dtype": dtype, "pass": label, "microseconds": micro}
        row["GB/s"] = round(moved * x.numel() * x.element_size() / micro["thinnet"] / 1000)
        row["% of copy bandwidth"] = round(100 * micro["copy"] / micro["thinnet"], 1)
        row["times faster than F.dropout"] = round(micro["F.dropout"] / micro["thinnet"], 2)
        if size == "1 M":
            row["microseconds a call from Python"] = device.launches(candidates)
        found.append(row | {"bytes kept an element": kept})
    return found


def tiles(size: str) -> list[dict[str, object]]:
    """Returns the time by the size of a program: what it reads, and by how many warps. It decides `launch.TILE_BYTES`."""
    from thinnet.ops.triton import launch

    x = torch.randn(SIZES[size][0], device=DEVICE).bfloat16()
    y, rate, seed = torch.empty_like(x), torch.tensor(32768, dtype=torch.int32, device=DEVICE), torch.tensor(7, device=DEVICE)

    def noise(tile: int, warps: int) -> None:
        with patch.object(launch, "TILE_BYTES", tile), patch.object(launch, "COMPILED", launch.COMPILED | {"num_warps": warps}):
            with patch.object(launch, "_launches", kept.setdefault((tile, warps), {})):
                apply_noise(x, rate, seed)

    kept: dict[tuple[int, int], dict[object, object]] = {}
    candidates = {f"{tile} B, {warps} warps": partial(noise, tile, warps) for tile in (4096, 8192, 16384) for warps in (4, 8)}
    return [{"elements": size, "microseconds": device.times({"copy": partial(y.copy_, x), **candidates}, SIZES[size][1])}]


def fits(size: str, dtype: torch.dtype) -> bool:
    """Returns whether the device has the memory for a row."""
    return REHEARSE or device.free() >= 9 * SIZES[size][0] * dtype.itemsize + (1 << 30)


def main() -> int:
    """Measures what fits on the GPU; returns the exit status."""
    cases = ((f"{size} {name}", partial(measure, size, name)) for size in SIZES for name in DTYPES if fits(size, DTYPES[name]))
    status = gpu_rows.run("gpu", cases)
    print(BARS)
    programs = [size for size in ("16 M", "256 M") if size in SIZES] or list(SIZES)
    return status or gpu_rows.run("gpu_tiles", ((f"programs, {size}", partial(tiles, size)) for size in programs))


if __name__ == "__main__":
    sys.exit(main())
