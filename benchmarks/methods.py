"""What each method costs compared with `Dropout`: one pass over 1 M elements, forward alone and with backward.

Times are the CPU time of one thread, so that what else runs on the machine counts little.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchmarks.measure import interleaved
from thinnet import nn as methods
from thinnet.methods.registry import FOLDERS

UNITS, MAPS, WORDS, WEIGHTS = (1024, 1024), (64, 64, 16, 16), (32, 128, 256), (16, 4, 128, 128)  # each 1 M elements
ROUNDS = 41
Case = tuple[Callable[[], nn.Module], tuple[int, ...]]

# A class in one of these folders runs with its default settings on the folder's shape. Layers with weights are not
# compared: matrix products dominate them (benchmarks/recurrent.py measures the recurrent ones).
SHAPES = {
    "elementwise": UNITS,
    "spatial": MAPS,
    "attention": WEIGHTS,
    "residual": WORDS,
    "tokens": WORDS,
    "inputs": UNITS,
    "experts": UNITS,
    "graphs": UNITS,
    "learned": UNITS,
}
SETTINGS: dict[str, Case] = {
    "AlphaDropout": (lambda: methods.AlphaDropout(0.1), UNITS),
    "AttentionDropout": (lambda: methods.AttentionDropout(0.1), WEIGHTS),
    "Cutout": (lambda: methods.Cutout(8), MAPS),
    "DropAttention": (lambda: methods.DropAttention(0.1), WEIGHTS),
    "DropBlock2d": (lambda: methods.DropBlock2d(0.1, 7), MAPS),
    "DropBlock2d, shared": (lambda: methods.DropBlock2d(0.1, 7, shared=True), MAPS),
    "DropHead": (lambda: methods.DropHead(0.2), (32, 8, 128, 32)),
    "DropKey": (lambda: methods.DropKey(0.1), WEIGHTS),
    "DropPath": (lambda: methods.DropPath(0.1), WORDS),
    "FeatureAlphaDropout": (lambda: methods.FeatureAlphaDropout(0.1), MAPS),
    "ImportanceDropout": (lambda: methods.ImportanceDropout(1024, 0.5), UNITS),
    "LockedDropout": (lambda: methods.LockedDropout(0.5, batch_first=True), WORDS),
    "ShakeDrop": (lambda: methods.ShakeDrop(0.5), MAPS),
    "TokenDropout": (lambda: methods.TokenDropout(0.1), WORDS),
    "UniformDropout": (lambda: methods.UniformDropout(0.2), UNITS),
    "VariationalDropout": (lambda: methods.VariationalDropout(1024), UNITS),
}
OTHER_SIZES = ("Dropout1d", "Dropout3d", "DropBlock1d", "DropBlock3d", "MaxPoolDropout1d")
OTHER_INPUTS = (  # ids, graphs, logits of experts, several inputs or outputs
    *("EmbeddingDropout", "WordDropout", "DropEdge", "DropNodes", "DropMessage", "DropWalks"),
    *("ModalityDropout", "ExpertDropout", "GatingDropout", "GradDrop"),
)
LAYERS = (
    *("Standout", "MultiheadAttention", "FractalJoin", "FractalPath", "LayerDrop", "TokenBypass", "StochasticDepth"),
    *("ConcreteDropout", "LearnedDropout", "InformationDropout", "SparseVariationalDropout", "VariationalWeightDropout"),
)
LEFT_OUT = {"Dropout", *OTHER_SIZES, *OTHER_INPUTS, *LAYERS}


def cases() -> dict[str, Case]:
    """Returns the module and the shape of each row."""
    found = dict(SETTINGS)
    for folder, shape in SHAPES.items():
        for method in FOLDERS[folder]:
            if method.module is not None and method.name not in LEFT_OUT:
                found.setdefault(method.name, (method.module, shape))
    return found


def passes(
    layer: nn.Module, shape: tuple[int, ...], device: torch.device | str = "cpu"
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Returns a forward pass, and one with its backward pass."""
    x = torch.rand(shape, device=device)
    leaf, weight = x.clone().requires_grad_(), None

    def both() -> object:
        nonlocal weight
        y: Tensor = layer(leaf)
        weight = torch.ones_like(y) if weight is None or weight.shape != y.shape else weight
        return torch.autograd.grad(y, leaf, weight)

    return lambda: layer(x), both


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs on one thread, and lets the allocator keep what it frees: the first tensors of a process are slow to touch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(3):
        torch.ones(1 << 22)  # 16 MB; glibc returns smaller blocks to the system no more
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def rows() -> list[dict[str, object]]:
    """Returns one row for each method: the median microseconds of it, of `Dropout` and of a copy, measured in turn."""
    with one_thread():
        return [_row(name, *case) for name, case in cases().items()]


def _row(name: str, make: Callable[[], nn.Module], shape: tuple[int, ...]) -> dict[str, object]:
    ours, plain, x = passes(make(), shape), passes(methods.Dropout(0.5), shape), torch.rand(shape)
    forward = interleaved({"method": ours[0], "Dropout": plain[0], "copy": x.clone}, ROUNDS, clock=time.thread_time)
    backward = interleaved({"method": ours[1], "Dropout": plain[1]}, ROUNDS, clock=time.thread_time)
    row: dict[str, object] = {"method": name, "shape": " x ".join(map(str, shape))}
    for label, times in (("forward", forward), ("forward + backward", backward)):
        row[label] = {candidate: round(value * 1e6, 1) for candidate, value in times.items()}
    return row
