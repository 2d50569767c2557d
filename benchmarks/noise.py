"""Dropout on one tensor: ours against what a user would take instead, and against one read and one new write of it."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import interleaved
from thinnet.functional import dropout
from thinnet.ops import apply_noise

P = 0.5
SIZES = {"16 K": (1 << 14, 60, 20), "1 M": (1 << 20, 100, 1), "16 M": (1 << 24, 25, 1)}  # elements, rounds, calls a turn
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def check(x: Tensor) -> None:
    """Refuses to time a path whose bits are wrong."""
    rate, seed = torch.tensor(32768, dtype=torch.int32), torch.tensor(7)
    assert torch.equal(apply_noise(x, rate, seed), apply_noise(x, rate, seed, backend="reference")), (
        "the kernel disagrees with the reference"
    )


def forward(x: Tensor) -> dict[str, Callable[[], object]]:
    """Returns the candidates of a forward pass."""
    compiled = torch.compile(lambda x: F.dropout(x, P))
    candidates: dict[str, Callable[[], object]] = {
        "relu": lambda: torch.relu(x),
        "F.dropout": lambda: F.dropout(x, P),
        "compiled F.dropout": lambda: compiled(x),
        "thinnet": lambda: dropout(x, P, training=True),
    }
    candidates |= jax_candidates(x)
    if x.dtype == torch.float32:
        array, source = x.numpy(), np.random.Generator(np.random.SFC64(0))
        scale = np.float32(1 / (1 - P))
        candidates["NumPy"] = lambda: np.where(source.random(array.shape, dtype=np.float32) >= P, array * scale, 0)
    return candidates


def jax_candidates(x: Tensor) -> dict[str, Callable[[], object]]:
    """Returns JAX's dropout as its layer libraries write it, with its default generator and its fastest."""
    array = jnp.asarray(x.float().numpy(), dtype=jnp.bfloat16 if x.dtype == torch.bfloat16 else jnp.float32)

    @jax.jit
    def drop(key, x):
        key, now = jax.random.split(key)
        return key, jnp.where(jax.random.bernoulli(now, 1 - P, x.shape), x / (1 - P), 0)

    found: dict[str, Callable[[], object]] = {}
    for generator in ("threefry2x32", "rbg"):
        keys = [jax.random.key(0, impl=generator)]

        def call(keys=keys):
            keys[0], y = drop(keys[0], array)
            return y.block_until_ready()

        found[f"JAX {generator}"] = call
    return found


def training(x: Tensor) -> dict[str, Callable[[], object]]:
    """Returns the candidates of a forward and a backward pass."""
    x = x.clone().requires_grad_()
    gradient = torch.randn_like(x)
    compiled = torch.compile(lambda x: F.dropout(x, P))

    def both(function: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(function(x), x, gradient)

    return {
        "relu": both(torch.relu),
        "F.dropout": both(lambda x: F.dropout(x, P)),
        "compiled F.dropout": both(compiled),
        "thinnet": both(lambda x: dropout(x, P, training=True)),
    }


def kept_bytes(function: Callable[[Tensor], Tensor]) -> float:
    """Returns by how many bytes an element the process grows with a graph, its input and its output not counted."""
    x = torch.randn(1 << 26, requires_grad=True)
    function(x[:4096])
    before = resident()
    y = function(x)
    return round((resident() - before) / x.numel() - y.element_size(), 2)


def resident() -> int:
    """Returns the bytes of memory that the process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def rows() -> list[dict[str, object]]:
    """Returns one row a size, dtype and pass, with the median microseconds of every candidate."""
    found: list[dict[str, object]] = []
    for size, (count, rounds, calls) in SIZES.items():
        for name, dtype in DTYPES.items():
            x = torch.randn(count).to(dtype)
            check(x)
            for label, candidates in (("forward", forward(x)), ("forward + backward", training(x))):
                times = interleaved(candidates, rounds, calls)
                micro = {candidate: round(value * 1e6, 1) for candidate, value in times.items()}
                found.append({"elements": size, "dtype": name, "pass": label, "microseconds": micro})
    return found


def memory() -> list[dict[str, object]]:
    """Returns the bytes an element that are kept for backward."""
    theirs = kept_bytes(lambda x: F.dropout(x, P))
    return [{"F.dropout": theirs, "thinnet": kept_bytes(lambda x: dropout(x, P, training=True))}]
