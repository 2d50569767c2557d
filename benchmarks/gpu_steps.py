"""Training steps on a GPU without dropout, with PyTorch's and with ours: `python -m benchmarks.gpu_steps`.

A step is forward and backward in bfloat16 autocast. The variants take turns in one process; a time is the median of many
turns, taken between two device events.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import thinnet
from benchmarks import device
from benchmarks.device import DEVICE, REHEARSE
from benchmarks.measure import write
from benchmarks.thin_networks import Block, conv_stage, mlp

Drop = Callable[[], nn.Module] | None


class Case(NamedTuple):
    """A model to train.

    Args:
        name: what the table calls it.
        make: returns the model, given a factory of its dropout layers, or None for no dropout.
        shape: of the input.
        theirs: PyTorch's dropout layer.
        ours: thinnet's dropout layer.
        items: what counts as one item of throughput: tokens or samples of a step.
    """

    name: str
    make: Callable[[Drop], nn.Module]
    shape: tuple[int, ...]
    theirs: Callable[[], nn.Module]
    ours: Callable[[], nn.Module]
    items: int


def gpt(width: int, blocks: int, drop: Drop) -> nn.Module:
    """Returns causal Transformer blocks with dropout in the feed-forward part and at the end of both branches."""
    return nn.Sequential(*(Block(width, True, drop, drop) for _ in range(blocks)))


def cases(tiny: bool) -> list[Case]:
    """Returns the models at full or tiny size."""
    width, tokens, batch, channels, side = (64, 16, 2, 8, 8) if tiny else (1024, 1024, 8, 256, 56)
    wide, rows = (32, 16) if tiny else (4096, 8192)
    plain = (lambda: nn.Dropout(0.1)), (lambda: thinnet.nn.Dropout(0.1))
    maps = (lambda: nn.Dropout2d(0.1)), (lambda: thinnet.nn.Dropout2d(0.1))
    return [
        Case("GPT block", lambda drop: gpt(width, 2, drop), (batch, tokens, width), *plain, batch * tokens),
        Case(f"MLP 784-{wide}-{wide}-10", lambda drop: mlp(wide, drop), (rows, 784), *plain, rows),
        Case("conv stage", lambda drop: conv_stage(channels, drop), (4 * batch, channels, side, side), *maps, 4 * batch),
    ]


def step_of(model: Any, x: Tensor) -> Callable[[], None]:
    """Returns a training step without an optimiser."""

    def step() -> None:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            loss = model(x).float().square().mean()
        model.zero_grad(set_to_none=True)
        loss.backward()

    return step


def timed(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Returns the median milliseconds of each step; all take their turn in each round."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(3):
            step()
    for _ in range(rounds):
        for name, step in steps.items():
            device.synchronize()
            found[name].append(device.microseconds(step) / 1000)
    return {name: round(statistics.median(values), 3) for name, values in found.items()}


def whole_row(case: Case, rounds: int, mode: str) -> dict[str, Any]:
    """Returns one row: a model without dropout, with PyTorch's and with ours, in eager mode or compiled as a whole."""
    torch._dynamo.reset()
    x = torch.randn(case.shape, device=DEVICE)
    steps: dict[str, Callable[[], None]] = {}
    layers = {"no dropout": None, "nn.Dropout": case.theirs, "thinnet": case.ours}
    for name, drop in (layers | ({"thinnet, addressed": case.ours} if mode == "compiled" else {})).items():
        torch.manual_seed(0)
        model = case.make(drop).to(DEVICE)
        if "addressed" in name:
            thinnet.DropoutRNG(0).bind(model).at(1, samples=torch.randperm(len(x)))
        steps[name] = step_of(model if mode == "eager" else device.compiled(model), x)
    return _row(case, mode, steps, rounds)


def thinned_row(case: Case, rounds: int, p: float = 0.5) -> dict[str, Any]:
    """Returns one row: no dropout, PyTorch's dropout at rate p, and the thinned model at rate p, in eager mode."""
    x = torch.randn(case.shape, device=DEVICE)
    layers: dict[str, Drop] = {
        "no dropout": None,
        "nn.Dropout": lambda: type(case.theirs())(p),
        "thinned": lambda: type(case.ours())(p),
    }
    steps: dict[str, Callable[[], None]] = {}
    for name, drop in layers.items():
        torch.manual_seed(0)
        model = case.make(drop).to(DEVICE)
        if name == "thinned":
            thinnet.thin(model, x[: max(2, len(x) // 8)], always=True)
        steps[name] = step_of(model, x)
    return _row(case, f"eager, p = {p}", steps, rounds)


def _row(case: Case, mode: str, steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, Any]:
    times = timed(steps, rounds)
    memory = {name: round(device.peak(step) / 2**20, 1) for name, step in steps.items()}
    rate = {name: round(case.items / value * 1000) for name, value in times.items()}
    return {"model": case.name, "mode": mode, "milliseconds": times, "items a second": rate, "peak MiB": memory}


def main() -> int:
    """Measures, writes benchmarks/results/gpu_steps.json after every row, and prints each row; returns the exit status."""
    if device.missing:
        print(f"benchmarks.gpu_steps: {device.missing}. Rehearse with `benchmarks.on_gpu --rehearse`.", file=sys.stderr)
        return 2
    rows: list[dict[str, object]] = []
    models, rounds, failed = cases(REHEARSE), 2 if REHEARSE else 40, 0
    for mode, case in ((mode, case) for mode in ("compiled", "thinned", "eager") for case in models):
        start = time.perf_counter()
        try:
            row = thinned_row(case, rounds) if mode == "thinned" else whole_row(case, rounds, mode)
        except Exception as error:  # the other rows are worth having
            failed += 1
            print(f"FAILED {case.name}, {mode}: {type(error).__name__}: {str(error)[:500]}", flush=True)
            continue
        rows.append(row)
        write("gpu_steps", rows)
        floor = row["milliseconds"]["no dropout"]
        ratios = ", ".join(f"{name} {value / floor:.3f}x" for name, value in row["milliseconds"].items())
        took = time.perf_counter() - start
        print(f"{case.name}, {row['mode']}: {floor:.2f} ms; {ratios}; MiB {row['peak MiB']} ({took:.0f} s)", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
