"""What a method costs beside dropout: one pass over 1 M elements, forward and with backward, as ratios to `Dropout` itself."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.measure import interleaved
from thinnet import nn as methods

UNITS, MAPS, WORDS = (1024, 1024), (64, 64, 16, 16), (32, 128, 256)  # each 1 M elements
ROUNDS = 21
Case = tuple[Callable[[], nn.Module], tuple[int, ...]]

CASES: dict[str, Case] = {
    "AlphaDropout": (lambda: methods.AlphaDropout(0.1), UNITS),
    "GaussianDropout": (lambda: methods.GaussianDropout(0.5), UNITS),
    "UniformDropout": (lambda: methods.UniformDropout(0.2), UNITS),
    "ImportanceDropout": (lambda: methods.ImportanceDropout(1024, 0.5), UNITS),
    "Jumpout": (lambda: methods.Jumpout(0.1), UNITS),
    "VariationalDropout": (lambda: methods.VariationalDropout(1024), UNITS),
    "Dropout2d": (lambda: methods.Dropout2d(0.5), MAPS),
    "DropBlock2d": (lambda: methods.DropBlock2d(0.1, 7), MAPS),
    "DropBlock2d, shared": (lambda: methods.DropBlock2d(0.1, 7, shared=True), MAPS),
    "Cutout": (lambda: methods.Cutout(8), MAPS),
    "LockedDropout": (lambda: methods.LockedDropout(0.5, batch_first=True), WORDS),
    "AttentionDropout": (lambda: methods.AttentionDropout(0.1), (16, 4, 128, 128)),
    "DropAttention": (lambda: methods.DropAttention(0.1), (16, 4, 128, 128)),
    "DropKey": (lambda: methods.DropKey(0.1), (16, 4, 128, 128)),
    "DropHead": (lambda: methods.DropHead(0.2), (32, 8, 128, 32)),
    "DropPath": (lambda: methods.DropPath(0.1), WORDS),
    "ShakeDrop": (lambda: methods.ShakeDrop(0.5), MAPS),
    "TokenDropout": (lambda: methods.TokenDropout(0.1), WORDS),
    "PatchDropout": (lambda: methods.PatchDropout(0.5), WORDS),
    "HiddenCut": (lambda: methods.HiddenCut(0.1), WORDS),
    "DropNode": (lambda: methods.DropNode(0.5), UNITS),
}


def passes(layer: nn.Module, shape: tuple[int, ...]) -> tuple[Callable[[], object], Callable[[], object]]:
    """Returns a forward pass, and one with its backward pass."""
    x = torch.rand(shape)
    leaf, weight = x.clone().requires_grad_(), None

    def both() -> object:
        nonlocal weight
        y: Tensor = layer(leaf)
        weight = torch.ones_like(y) if weight is None or weight.shape != y.shape else weight
        return torch.autograd.grad(y, leaf, weight)

    return lambda: layer(x), both


def rows() -> list[dict[str, object]]:
    """Returns one row a method: the median microseconds of it, of `Dropout` and of a copy of the same tensor, in turn."""
    found: list[dict[str, object]] = []
    for name, (make, shape) in CASES.items():
        ours, plain, x = passes(make(), shape), passes(methods.Dropout(0.5), shape), torch.rand(shape)
        forward = interleaved({"method": ours[0], "Dropout": plain[0], "copy": x.clone}, ROUNDS)
        backward = interleaved({"method": ours[1], "Dropout": plain[1]}, ROUNDS)
        row: dict[str, object] = {"method": name, "shape": " x ".join(map(str, shape))}
        for label, times in (("forward", forward), ("forward + backward", backward)):
            row[label] = {candidate: round(value * 1e6, 1) for candidate, value in times.items()}
        found.append(row)
    return found
