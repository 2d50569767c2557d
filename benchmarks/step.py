"""A whole training step of a 784-1024-1024-10 network: without dropout, with ours, with PyTorch's."""

from collections.abc import Callable

import torch
from torch import nn

import thinnet
from benchmarks.measure import interleaved

BATCHES = {128: 60, 2048: 9}


def network(dropout: type[nn.Module] | None, width: int = 1024) -> nn.Module:
    """Returns the network with dropout after both hidden activations, or none."""
    layers: list[nn.Module] = []
    for wide in (784, width):
        layers += [nn.Linear(wide, width), nn.ReLU(), *([dropout(0.5)] if dropout else [])]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def step(dropout: type[nn.Module] | None, batch: int, addressed: bool = False) -> Callable[[], object]:
    """Returns one step of stochastic gradient descent on random data."""
    torch.manual_seed(0)
    model, x, target = network(dropout), torch.randn(batch, 784), torch.randint(0, 10, (batch,))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    rng = thinnet.DropoutRNG(0).bind(model) if addressed else None
    ids = torch.arange(batch)

    def run() -> None:
        if rng is not None:
            rng.advance(ids)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), target).backward()
        optimiser.step()

    return run


def rows() -> list[dict[str, object]]:
    """Returns one row a batch size, with the median milliseconds of every candidate."""
    found: list[dict[str, object]] = []
    for batch, rounds in BATCHES.items():
        candidates = {
            "no dropout": step(None, batch),
            "thinnet": step(thinnet.nn.Dropout, batch),
            "thinnet, addressed": step(thinnet.nn.Dropout, batch, addressed=True),
            "nn.Dropout": step(nn.Dropout, batch),
        }
        times = interleaved(candidates, rounds)
        found.append({"batch": batch, "milliseconds": {name: round(value * 1e3, 2) for name, value in times.items()}})
    return found
