"""On a GPU: calls from Python, dropout fused with other operations, rates of units and blocks, and parts of weights.

`python -m benchmarks.gpu_parts`. The first candidate of a row is the floor: the same without dropout, or a copy.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import thinnet
from benchmarks import device, gpu_rows, methods
from benchmarks import fused as chains
from benchmarks.device import DEVICE, REHEARSE
from thinnet import functional as T
from thinnet.ops.take import take

P = 0.1
SHAPE: tuple[int, int, int] = (2, 3, 128) if REHEARSE else (16, 1024, 1024)
CHAINS = (  # the most important first
    *("dropout_add_layer_norm", "gelu_dropout", "dropout_add", "swiglu_dropout", "dropout_add_rms_norm", "bias_dropout_add"),
    *("gelu_dropout, tanh", "relu_dropout", "embedding_add_dropout"),
)
METHODS = ("ImportanceDropout", "DropBlock2d", "DropBlock2d, shared", "Jumpout", "VariationalDropout", "DropPath", "Dropout2d")


def calls() -> gpu_rows.Rows:
    """Returns the microseconds of eager calls on small tensors: without gradient, and with it."""
    x, found = torch.randn(8, 128, device=DEVICE), []
    addressed = thinnet.nn.Dropout(P).to(DEVICE)
    thinnet.DropoutRNG(0).bind(addressed).at(1, samples=torch.arange(8))
    q = torch.randn(1, 2, 16 if REHEARSE else 128, 64, device=DEVICE, dtype=torch.bfloat16)
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": F.relu,
        "F.dropout": lambda x: F.dropout(x, P),
        "thinnet": lambda x: T.dropout(x, P, training=True),
        "thinnet, addressed": addressed,
        "dropout_add": lambda x: T.dropout_add(x, x, p=P, training=True),
        "gelu_dropout": lambda x: T.gelu_dropout(x, p=P, training=True),
        "GaussianDropout": thinnet.nn.GaussianDropout(P).to(DEVICE),
    }
    attention: dict[str, Callable[[Tensor], Tensor]] = {
        "SDPA": lambda q: F.scaled_dot_product_attention(q, q, q, dropout_p=P),
        "attention": lambda q: T.attention(q, q, q, p=P, training=True),
    }
    for label, input_, each in (("elementwise, 1 K", x, functions), ("attention, 128 queries", q, attention)):
        for gradient in (False, True):
            leaf = input_.clone().requires_grad_(gradient)
            found.append({"call": label, "gradient": gradient, "microseconds": device.launches(_called(each, leaf))})
    return found


def _called(functions: dict[str, Callable[[Tensor], Tensor]], x: Tensor) -> dict[str, Callable[[], object]]:
    """Returns calls of functions, with backward where the tensor asks for gradients."""
    if not x.requires_grad:
        return {name: partial(function, x) for name, function in functions.items()}
    gradient = torch.ones_like(x)
    return {name: lambda f=f: torch.autograd.grad(f(x), x, gradient) for name, f in functions.items()}


def chain(name: str) -> gpu_rows.Rows:
    """Returns a row of fused dropout, forward and backward, against what the compiler makes of PyTorch's."""
    torch._dynamo.reset()
    composed, fused, inputs = chains.cases(SHAPE, torch.bfloat16, str(DEVICE))[name]
    drops: dict[str, Callable[[Tensor], Tensor]] = {
        "no dropout, compiled": lambda x: x,
        "F.dropout, compiled": lambda x: F.dropout(x, P),
        "thinnet apart, compiled": lambda x: T.dropout(x, P, training=True),
    }
    runs: dict[str, Callable[[], Any]] = {each: device.compiled(partial(composed, drop)) for each, drop in drops.items()}
    runs |= {"fused, eager": fused, "F.dropout apart, eager": partial(composed, drops["F.dropout, compiled"])}
    gradient = torch.randn_like(fused())
    candidates = {each: lambda run=run: torch.autograd.grad(run(), inputs, gradient) for each, run in runs.items()}
    return [{"function": name, "pass": "forward + backward", "microseconds": device.times(candidates, 3 if REHEARSE else 15)}]


def method(name: str) -> gpu_rows.Rows:
    """Returns the rows of a method beside `Dropout` and a copy of the tensor: forward, and forward with backward."""
    make, shape = methods.cases()[name]
    shape = (2, *(min(size, 8) for size in shape[1:-1]), shape[-1]) if REHEARSE else (16 * shape[0], *shape[1:])
    ours, plain = (methods.passes(layer.to(DEVICE), shape, DEVICE) for layer in (make(), thinnet.nn.Dropout(0.5)))
    x = torch.rand(shape, device=DEVICE)
    return [
        {
            **{"method": name, "shape": " x ".join(map(str, shape)), "pass": label},
            "microseconds": device.times({"copy": x.clone, "Dropout": other, "method": one}, 3 if REHEARSE else 15),
        }
        for label, one, other in zip(("forward", "forward + backward"), ours, plain, strict=True)
    ]


def indexed(w: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Returns what `take` does, as indexing."""
    return w[rows[0][:, None], columns[0]][None]


def selected(w: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Returns the same as two operations."""
    return w.index_select(0, rows[0]).index_select(1, columns[0])[None]


def parts(dtype: torch.dtype) -> gpu_rows.Rows:
    """Returns the rows of taking half of the rows and columns of a weight, and of putting its gradient back."""
    torch._dynamo.reset()
    size, found = 64 if REHEARSE else 4096, []
    w = torch.randn(size, size, device=DEVICE, dtype=dtype, requires_grad=True)
    rows, columns = (torch.randperm(size, device=DEVICE)[: size // 2].sort()[0][None] for _ in range(2))
    gradient = torch.randn(1, size // 2, size // 2, device=DEVICE, dtype=dtype)
    runs = {"indexing, compiled": device.compiled(indexed), "index_select, eager": selected, "take": take}
    copy = {"copy of the part": gradient.clone}
    forward = copy | {name: partial(run, w.detach(), rows, columns) for name, run in runs.items()}
    whole = {name: lambda run=run: torch.autograd.grad(run(w, rows, columns), w, gradient) for name, run in runs.items()}
    for label, candidates in (("forward", forward), ("forward + backward", copy | whole)):
        row = {"operation": "take", "dtype": str(dtype).removeprefix("torch."), "pass": label}
        found.append(row | {"microseconds": device.times(candidates, 3 if REHEARSE else 15)})
    return found


def rows() -> Iterator[tuple[str, Callable[[], gpu_rows.Rows]]]:
    """Yields the rows, the most important first."""
    yield "calls", calls
    yield from ((name, partial(chain, name)) for name in CHAINS[: 1 if REHEARSE else 4])
    yield from ((f"parts of weights, {dtype}", partial(parts, dtype)) for dtype in (torch.float32, torch.bfloat16))
    yield from ((name, partial(method, name)) for name in METHODS)
    yield from ((name, partial(chain, name)) for name in CHAINS[4 : 5 if REHEARSE else None])


if __name__ == "__main__":
    assert set(CHAINS) == chains.cases((2, 2, 2)).keys(), "each chain of benchmarks.fused has a row"
    sys.exit(gpu_rows.run("gpu_parts", rows()))
