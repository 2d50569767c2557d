"""Dropout fused with adjacent operations, and the same operations apart: with our dropout, with PyTorch's, and with none.

4 M float32 numbers, p = 0.1. Times are the CPU time of one thread, so that what else runs on the machine counts little.
"""

from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import measure
from thinnet import functional as T

SHAPE, RATE, ROUNDS = (8, 512, 1024), 0.1, 31
Chain = Callable[[Callable[[Tensor], Tensor]], Tensor]  # from a dropout function to the result


def cases(
    shape: tuple[int, int, int] = SHAPE, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> dict[str, tuple[Chain, Callable[[], Tensor], list[Tensor]]]:
    """Returns, by name, the separate operations, the fused function, and the tensors that get gradients."""
    torch.manual_seed(0)
    width, like = shape[2:], {"dtype": dtype, "device": device, "requires_grad": True}
    x, y, table = (torch.randn(size, **like) for size in (shape, shape, (1000, *width)))
    position, weight, bias = (torch.randn(size, **like) for size in (shape[1:], width, width))
    ids, p = torch.randint(1000, shape[:2], device=device), {"p": RATE, "training": True}
    return {
        "dropout_add": (lambda drop: y + drop(x), lambda: T.dropout_add(x, y, **p), [x, y]),
        "bias_dropout_add": (
            lambda drop: y + drop(x + bias),
            lambda: T.bias_dropout_add(x, bias, y, **p),
            [x, bias, y],
        ),
        "relu_dropout": (lambda drop: drop(F.relu(x)), lambda: T.relu_dropout(x, **p), [x]),
        "gelu_dropout": (lambda drop: drop(F.gelu(x)), lambda: T.gelu_dropout(x, **p), [x]),
        "gelu_dropout, tanh": (
            lambda drop: drop(F.gelu(x, approximate="tanh")),
            lambda: T.gelu_dropout(x, approximate="tanh", **p),
            [x],
        ),
        "swiglu_dropout": (lambda drop: drop(F.silu(x) * y), lambda: T.swiglu_dropout(x, y, **p), [x, y]),
        "embedding_add_dropout": (
            lambda drop: drop(F.embedding(ids, table) + position),
            lambda: T.embedding_add_dropout(ids, table, position, **p),
            [table, position],
        ),
        "dropout_add_layer_norm": (
            lambda drop: F.layer_norm(y + drop(x), width, weight, bias),
            lambda: T.dropout_add_layer_norm(x, y, weight, bias, **p),
            [x, y, weight, bias],
        ),
        "dropout_add_rms_norm": (
            lambda drop: F.rms_norm(y + drop(x), width, weight),
            lambda: T.dropout_add_rms_norm(x, y, weight, **p),
            [x, y, weight],
        ),
    }


def rows() -> list[dict[str, object]]:
    """Returns one row for each function and pass: the median milliseconds of the candidates, measured in turn."""
    found: list[dict[str, object]] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gradient = torch.randn(SHAPE)
    for name, (chain, fused, inputs) in cases().items():
        candidates: dict[str, Callable[[], Tensor]] = {
            "no dropout": lambda chain=chain: chain(lambda x: x),
            "fused": fused,
            "thinnet, apart": lambda chain=chain: chain(lambda x: T.dropout(x, RATE, training=True)),
            "F.dropout, apart": lambda chain=chain: chain(lambda x: F.dropout(x, RATE)),
        }
        passes = {
            "forward": {each: without_gradient(call) for each, call in candidates.items()},
            "forward + backward": {
                each: lambda call=call, inputs=inputs: torch.autograd.grad(call(), inputs, gradient)
                for each, call in candidates.items()
            },
        }
        for label, calls in passes.items():
            with mock.patch.object(measure.time, "perf_counter", measure.time.thread_time):
                times = measure.interleaved(calls, ROUNDS)
            milliseconds = {each: round(value * 1e3, 2) for each, value in times.items()}
            found.append({"function": name, "pass": label, "milliseconds": milliseconds})
    torch.set_num_threads(threads)
    return found


def without_gradient(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Returns a call that autograd does not record."""

    def run() -> Tensor:
        with torch.no_grad():
            return call()

    return run
