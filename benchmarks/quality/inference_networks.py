"""Shared by the measurements of inference: data, a network, its training, and the writing of results."""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import thinnet
from benchmarks.measure import RESULTS, machine
from thinnet.report.progress import tracked

DIGITS = {"train": 800, "validation": 200, "test": 797}  # cases of one shuffle, the same for all seeds


def digits() -> dict[str, tuple[Tensor, Tensor]]:
    """Returns images `(N, 64)` in 0 .. 1 and labels of each part of scikit-learn's handwritten digits."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    pixels, labels = torch.tensor(x / 16, dtype=torch.float32)[order], torch.tensor(y)[order]
    sizes = list(DIGITS.values())
    return dict(zip(DIGITS, zip(pixels.split(sizes), labels.split(sizes), strict=True), strict=True))


def network(inputs: int, width: int, outputs: int, p: float, p_input: float = 0.0) -> nn.Sequential:
    """Returns two hidden ReLU layers with dropout behind each, and on the input if `p_input` is above 0."""
    layers: list[nn.Module] = [thinnet.nn.Dropout(p_input)] if p_input else []
    for size in (inputs, width):
        layers += [nn.Linear(size, width), nn.ReLU(), thinnet.nn.Dropout(p)]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def train(
    model: nn.Module, x: Tensor, y: Tensor, *, epochs: int, batch: int, lr: float, weight_decay: float, seed: int
) -> None:
    """Trains with AdamW, on cross entropy for integer targets and mean squared error otherwise; leaves the model in eval."""
    loss = nn.functional.mse_loss if y.is_floating_point() else nn.functional.cross_entropy
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            optimizer.zero_grad()
            loss(model(x[rows]).squeeze(-1), y[rows]).backward()
            optimizer.step()
    model.eval()


def over_seeds(work: Callable[[int], Any], seeds: int, processes: int = 2) -> list[Any]:
    """Returns `work(seed)` for each seed, in order, from processes with one thread each."""
    with ProcessPoolExecutor(processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        return list(tracked(pool.map(work, range(seeds)), "seeds", seeds))


def write(name: str, settings: dict[str, object], rows: list[dict[str, object]]) -> None:
    """Writes the rows of one measurement with its settings and its machine."""
    found = {"machine": machine(), "settings": settings, "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def rounded(value: float, low: float, high: float) -> list[float]:
    """Returns a value and the ends of its interval, rounded."""
    return [round(float(each), 5) for each in (value, low, high)]
