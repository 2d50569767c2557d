"""Compares thinned steps of `torch.optim` and `thinnet.optim`: `python -m benchmarks.thin_optim`, about 2 minutes on 2 cores.

A step of 784-width-width-10 in float32: zero_grad, forward, loss, backward and a fused optimiser step. Candidates alternate.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import thinnet
import thinnet.optim
from benchmarks import thin_networks as networks
from benchmarks.measure import interleaved, write

SIZES = [(width, batch) for width in (512, 1024, 4096) for batch in (128, 512, 2048) if width * batch < 2**22]
RATES = (0.2, 0.5)
OPTIONS: dict[str, dict[str, Any]] = {"SGD": {"lr": 1e-3, "momentum": 0.9, "fused": True}, "AdamW": {"lr": 1e-4, "fused": True}}


def step(width: int, batch: int, p: float, name: str, module: Any) -> Callable[[], None]:
    """Returns a training step; `p` of 0 is the network without dropout."""
    model = networks.mlp(width, (lambda: nn.Dropout(p)) if p else None)
    x, target = torch.randn(batch, 784), torch.randint(0, 10, (batch,))
    if p:
        thinnet.thin(model, x, always=True)
    optimiser = getattr(module, name)(model.parameters(), **OPTIONS[name])

    def run() -> None:
        optimiser.zero_grad()
        F.cross_entropy(model(x), target).backward()
        optimiser.step()

    return run


def row(width: int, batch: int, name: str) -> dict[str, object]:
    """Returns the milliseconds of each candidate."""
    candidates = {"no dropout": step(width, batch, 0, name, torch.optim)}
    for p in RATES:
        candidates[f"torch.optim, p {p}"] = step(width, batch, p, name, torch.optim)
        candidates[f"thinnet.optim, p {p}"] = step(width, batch, p, name, thinnet.optim)
    times = interleaved(candidates, max(3, min(60, 2**23 // (width * batch))))
    ratios = {each: f"{value / times['no dropout']:.2f}x" for each, value in times.items()}
    print(name, width, batch, f"{times['no dropout'] * 1e3:.1f} ms", ratios, flush=True)
    return {"optimiser": name, "width": width, "batch": batch, "seconds": times}


if __name__ == "__main__":
    torch.set_num_threads(2)
    write("thin_optim", [row(width, batch, name) for (width, batch), name in product(SIZES, OPTIONS)])
