"""Rates of units and blocks: the kernels beside the composition that they replace, and beside `Dropout`.

Times are the CPU time of one thread, so that what else runs on the machine counts little.
"""

import time
from collections.abc import Callable
from unittest import mock

import torch

from benchmarks import measure
from benchmarks.methods import cases, passes
from thinnet import nn
from thinnet.ops import units

METHODS = ("ImportanceDropout", "Jumpout", "DropBlock2d", "DropBlock2d, shared")
ROUNDS = 31


def composed(call: Callable[[], object]) -> Callable[[], object]:
    """Returns a call in which no kernel serves."""

    def run() -> object:
        with mock.patch.object(units, "served", lambda *_: False):
            return call()

    return run


def rows() -> list[dict[str, object]]:
    """Returns one row for each method and pass: the median microseconds of the candidates, measured in turn."""
    found: list[dict[str, object]] = []
    threads, made = torch.get_num_threads(), cases()
    torch.set_num_threads(1)
    for name in METHODS:
        make, shape = made[name]
        ours, plain = passes(make(), shape), passes(nn.Dropout(0.5), shape)
        for label, one, other in zip(("forward", "forward + backward"), ours, plain, strict=True):
            candidates = {"composed": composed(one), "kernel": one, "Dropout": other}
            with mock.patch.object(measure.time, "perf_counter", time.thread_time):
                times = measure.interleaved(candidates, ROUNDS)
            microseconds = {candidate: round(value * 1e6, 1) for candidate, value in times.items()}
            found.append({"method": name, "shape": " x ".join(map(str, shape)), "pass": label, "microseconds": microseconds})
    torch.set_num_threads(threads)
    return found
