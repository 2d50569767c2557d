"""Rates of units, noise of units and blocks: the kernels beside the composition that they replace, and beside `Dropout`.

Times are the CPU time of one thread, so that what else runs on the machine counts little.
"""

import time
from collections.abc import Callable

from benchmarks.measure import interleaved
from benchmarks.methods import cases, one_thread, passes
from thinnet import nn
from thinnet.ops import units

METHODS = (
    *("ImportanceDropout", "Jumpout", "VariationalDropout", "GaussianNoise", "DropBlock2d", "DropBlock2d, shared"),
    *("Cutout", "HiddenCut", "DropHead"),
)
ROUNDS = 31


def composed(call: Callable[[], object]) -> Callable[[], object]:
    """Returns a call in which no kernel serves."""

    def run() -> object:
        kernels, units._alone = units._alone, lambda x: False
        try:
            return call()
        finally:
            units._alone = kernels

    return run


def rows() -> list[dict[str, object]]:
    """Returns one row for each method and pass: the median microseconds of the candidates, measured in turn."""
    found: list[dict[str, object]] = []
    made = cases()
    with one_thread():
        for name in METHODS:
            make, shape = made[name]
            ours, plain = passes(make(), shape), passes(nn.Dropout(0.5), shape)
            for label, one, other in zip(("forward", "forward + backward"), ours, plain, strict=True):
                candidates = {"composed": composed(one), "kernel": one, "Dropout": other}
                times = interleaved(candidates, ROUNDS, clock=time.thread_time)
                microseconds = {candidate: round(value * 1e6, 1) for candidate, value in times.items()}
                found.append(
                    {"method": name, "shape": " x ".join(map(str, shape)), "pass": label, "microseconds": microseconds}
                )
    return found
