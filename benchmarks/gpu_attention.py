"""Attention with dropout on a GPU against PyTorch's flash attention, and against our kernel without dropout.

`python -m benchmarks.gpu_attention`; bfloat16, 16 heads of 64 features, 16 K tokens a batch, p = 0.1. Flash attention rounds
the rate to 8 bits, ours to 16. The last rows time programs of other sizes, to choose `ops.triton.attention.PROGRAMS`.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks import device, gpu_rows
from benchmarks.attention import NONE, RATE, ours, pytorch
from benchmarks.device import DEVICE, REHEARSE
from thinnet.ops.attention import attention

LENGTHS = (64,) if REHEARSE else (1024, 4096, 2048, 16384, 8192)
TOKENS, HEADS, WIDTH = (128, 2, 16) if REHEARSE else (16384, 16, 64)
ROUNDS = 2 if REHEARSE else 11
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def inputs(length: int) -> list[Tensor]:
    """Returns q, k and v."""
    shape, like = (TOKENS // length, HEADS, length, WIDTH), {"device": DEVICE, "dtype": torch.bfloat16}
    return [torch.randn(shape, **like, requires_grad=True) for _ in range(3)]  # pyright: ignore[reportArgumentType]


def check() -> None:
    """Refuses to time a path whose masks are wrong: with equal weights, an identity of values shows every one of them."""
    q, k, v = torch.zeros(1, 2, 200, 64), torch.zeros(1, 2, 128, 64), torch.eye(128).expand(1, 2, 128, 128)
    kept = []
    for place in ("cpu", DEVICE):
        rate, seed = torch.tensor(RATE, dtype=torch.int32, device=place), torch.tensor(3, device=place)
        kept.append(attention(*(x.to(place) for x in (q, k, v)), rate, seed)[0] != 0)  # pyright: ignore[reportCallIssue]
    assert torch.equal(kept[0], kept[1].cpu()), "the kernel drops other weights than the CPU"


def flash(is_causal: bool, p: float) -> Attention:
    """Returns PyTorch's flash attention."""

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with device.flash():
            return pytorch(is_causal, p)(q, k, v)

    return run


def passes(runs: dict[str, Attention], x: list[Tensor]) -> Iterator[tuple[str, dict[str, Callable[[], Any]]]]:
    """Yields the forward pass of each candidate, and the one with backward."""
    gradient, detached = torch.randn_like(x[2]), [each.detach() for each in x]
    whole = {name: lambda run=run: torch.autograd.grad(run(*x), x, gradient) for name, run in runs.items()}
    yield "forward + backward", whole
    yield "forward", {name: lambda run=run: run(*detached) for name, run in runs.items()}


def measure(length: int, is_causal: bool) -> gpu_rows.Rows:
    """Returns the rows of one length: forward with backward, and forward alone."""
    runs = {
        "flash, p = 0": flash(is_causal, 0.0),
        "PyTorch's choice, p = 0": pytorch(is_causal, 0.0),
        "flash": flash(is_causal, 0.1),
        "thinnet, p = 0": ours(is_causal, NONE, device=str(DEVICE)),
        "thinnet": ours(is_causal, RATE, device=str(DEVICE)),
    }
    found, x = [], inputs(length)
    for label, candidates in passes(runs, x):
        taken = {name: round(value / 1000, 4) for name, value in device.times(candidates, ROUNDS).items()}
        row = {"length": length, "causal": is_causal, "pass": label, "milliseconds": taken}
        row["to ours without dropout"] = round(taken["thinnet"] / taken["thinnet, p = 0"], 3)
        row["to flash with dropout"] = round(taken["thinnet"] / taken["flash"], 3)
        if label != "forward":
            row["peak MiB"] = {name: round(device.peak(call) / 2**20) for name, call in candidates.items()}
        found.append(row)
    return found


def programs(length: int, kernel: str) -> gpu_rows.Rows:
    """Returns a row of one kernel's programs of other sizes: rows of queries, warps, stages of the pipeline."""
    from thinnet.ops.triton import attention as door

    run, x = ours(True, RATE, device=str(DEVICE)), inputs(length)
    _, candidates = next(passes({"": run}, x))

    def call(size: tuple[int, ...]) -> None:
        program = dict(zip(("QUERIES", "num_warps", "num_stages"), size, strict=True))
        with patch.dict(door.PROGRAMS, {kernel: [program]}), patch.dict(door._fits, clear=True):
            candidates[""]()

    sizes = {f"{size}": size for size in ((64, 4, 3), (64, 4, 2), (64, 4, 4), (128, 4, 3), (128, 8, 3))}
    taken = {}
    for name, size in sizes.items():
        try:
            taken |= device.times({name: partial(call, size)}, 5)
        except Exception as error:  # a program that needs more memory than a multiprocessor has
            print(f"{kernel}, {name}: {type(error).__name__}: {str(error)[:100]}")
    return [{"length": length, "kernel": kernel, "pass": "forward + backward", "microseconds": taken}]


def cases() -> Iterator[tuple[str, Callable[[], gpu_rows.Rows]]]:
    """Yields the rows, the most important first."""
    check()
    for length in LENGTHS:
        for is_causal in (True, False):
            yield f"attention, length {length}" + (", causal" if is_causal else ""), partial(measure, length, is_causal)
    for kernel in ("forward_kernel", "queries_kernel", "keys_kernel"):
        yield f"programs of {kernel}", partial(programs, LENGTHS[0] if REHEARSE else 4096, kernel)


if __name__ == "__main__":
    sys.exit(gpu_rows.run("gpu_attention", cases()))
