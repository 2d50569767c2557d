"""Training steps on a GPU without dropout, with PyTorch's and with ours: `python -m benchmarks.gpu_steps`.

A step is forward and backward in bfloat16 autocast, of the language model also that of AdamW. The variants take turns in one
process; a time is the median of many turns, taken between two device events. In compiled models, "thinnet" is the form that the
compiler fuses, and "thinnet, whole" the kernel that it only calls.
"""

import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import thinnet
from benchmarks import attention, device, gpu_rows
from benchmarks.device import DEVICE, REHEARSE
from benchmarks.thin_networks import Block, MaskedPath, conv_stage, mlp
from thinnet.ops import inductor

Drop = Callable[[], nn.Module] | None


class Case(NamedTuple):
    """A model to train.

    Args:
        name: what the table calls it.
        make: returns the model, given a factory of its dropout layers, or None for no dropout.
        shape: of the input.
        theirs: PyTorch's dropout layer.
        ours: thinnet's dropout layer.
        items: what counts as one item of throughput: tokens or samples of a step.
    """

    name: str
    make: Callable[[Drop], nn.Module]
    shape: tuple[int, ...]
    theirs: Callable[[], nn.Module]
    ours: Callable[[], nn.Module]
    items: int


def gpt(width: int, blocks: int, drop: Drop) -> nn.Module:
    """Returns causal Transformer blocks with dropout in the feed-forward part and at the end of both branches."""
    return nn.Sequential(*(Block(width, True, drop, drop) for _ in range(blocks)))


def cases(tiny: bool) -> list[Case]:
    """Returns the models at full or tiny size."""
    width, tokens, batch, channels, side = (64, 16, 2, 8, 8) if tiny else (1024, 1024, 8, 256, 56)
    wide, rows = (32, 16) if tiny else (4096, 8192)
    plain = (lambda: nn.Dropout(0.1)), (lambda: thinnet.nn.Dropout(0.1))
    maps = (lambda: nn.Dropout2d(0.1)), (lambda: thinnet.nn.Dropout2d(0.1))
    return [
        Case("GPT block", lambda drop: gpt(width, 2, drop), (batch, tokens, width), *plain, batch * tokens),
        Case(f"MLP 784-{wide}-{wide}-10", lambda drop: mlp(wide, drop), (rows, 784), *plain, rows),
        Case("conv stage", lambda drop: conv_stage(channels, drop), (4 * batch, channels, side, side), *maps, 4 * batch),
    ]


def image_case(tiny: bool) -> Case:
    """Returns blocks of a ViT whose branches are dropped for whole samples, as timm does it."""
    width, patches, batch = (64, 5, 4) if tiny else (768, 197, 64)
    paths = (lambda: MaskedPath(0.1)), (lambda: thinnet.nn.DropPath(0.1))
    make = lambda drop: nn.Sequential(*(Block(width, False, None, drop) for _ in range(4)))  # noqa: E731
    return Case("ViT blocks, DropPath", make, (batch, patches, width), *paths, batch)


def language_row(compiled: bool, rounds: int) -> dict[str, Any]:
    """Returns a row of GPT-2 small with dropout of embeddings, attention weights and branches, or its blocks compiled."""
    torch._dynamo.reset()
    layers, width, heads, words, shape = (2, 32, 2, 64, (2, 17)) if REHEARSE else (12, 768, 12, 50304, (8, 1025))
    tokens = torch.randint(words, shape, device=DEVICE)
    names = {"no dropout": "PyTorch, p = 0", "nn.Dropout": "PyTorch", "thinnet": "thinnet"}
    models = {name: attention.gpt(each, layers, width, heads, words).to(DEVICE) for name, each in names.items()}
    steps = {name: language_step(model, tokens, compiled) for name, model in models.items()}
    mode = "blocks compiled" if compiled else "eager"
    return _row("GPT-2 small, AdamW", mode, tokens[:, 1:].numel(), steps, rounds)


def language_step(model: nn.Sequential, tokens: Tensor, compiled: bool) -> Callable[[], None]:
    """Returns a training step; its blocks share the compiled code, so that twelve of them do not take twelve times as long."""
    change = device.compiled if compiled else lambda part: part
    parts = [change(part) if isinstance(part, attention.Block) else part for part in list(model)[:-1]]
    optimiser, loss = torch.optim.AdamW(model.parameters(), fused=True), change(partial(_loss, model[-1]))

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast(tokens.device.type, dtype=torch.bfloat16):
            x = tokens[:, :-1]
            for part in parts:
                x = part(x)
            value = loss(x, tokens[:, 1:])
        value.backward()
        optimiser.step()

    return step


def _loss(head: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(head(x).flatten(0, 1).float(), target.flatten())


def step_of(model: Any, x: Tensor) -> Callable[[], None]:
    """Returns a training step without an optimiser."""

    def step() -> None:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            loss = model(x).float().square().mean()
        model.zero_grad(set_to_none=True)
        loss.backward()

    return step


def timed(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Returns the median milliseconds of each step; all take their turn in each round."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(3):
            step()
    for _ in range(rounds):
        for name, step in steps.items():
            device.synchronize()
            found[name].append(device.microseconds(step) / 1000)
    return {name: round(statistics.median(values), 3) for name, values in found.items()}


def whole_row(case: Case, mode: str, rounds: int) -> dict[str, Any]:
    """Returns one row: a model without dropout, with PyTorch's and with ours, in eager mode or compiled as a whole."""
    torch._dynamo.reset()
    x = torch.randn(case.shape, device=DEVICE)
    steps: dict[str, Callable[[], None]] = {}
    layers = {"no dropout": None, "nn.Dropout": case.theirs, "thinnet": case.ours}
    more = {"thinnet, addressed": case.ours, "thinnet, whole": case.ours} if mode == "compiled" else {}
    for name, drop in (layers | more).items():
        torch.manual_seed(0)
        model = case.make(drop).to(DEVICE)
        if "addressed" in name:
            thinnet.DropoutRNG(0).bind(model).at(1, samples=torch.randperm(len(x)))
        options = {"options": {"force_disable_caches": True}} if "whole" in name else {}  # the cache has the fused form
        steps[name] = step_of(model if mode == "eager" else device.compiled(model, **options), x)
        with _whole() if "whole" in name else nullcontext():
            steps[name]()
    return _row(case.name, mode, case.items, steps, rounds)


def _whole() -> AbstractContextManager[Any]:
    """Lets the compiler call the kernel and not fuse it."""
    return patch.object(inductor, "DEVICES", set())


def thinned_row(case: Case, rounds: int, p: float = 0.5) -> dict[str, Any]:
    """Returns one row: no dropout, PyTorch's dropout at rate p, and the thinned model at rate p, in eager mode."""
    x = torch.randn(case.shape, device=DEVICE)
    layers: dict[str, Drop] = {
        "no dropout": None,
        "nn.Dropout": lambda: type(case.theirs())(p),
        "thinned": lambda: type(case.ours())(p),
    }
    steps: dict[str, Callable[[], None]] = {}
    for name, drop in layers.items():
        torch.manual_seed(0)
        model = case.make(drop).to(DEVICE)
        if name == "thinned":
            thinnet.thin(model, x[: max(2, len(x) // 8)], always=True)
        steps[name] = step_of(model, x)
    return _row(case.name, f"eager, p = {p}", case.items, steps, rounds)


def _row(name: str, mode: str, items: int, steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, Any]:
    times = timed(steps, rounds)
    memory = {each: round(device.peak(step) / 2**20, 1) for each, step in steps.items()}
    rate = {each: round(items / value * 1000) for each, value in times.items()}
    return {"model": name, "mode": mode, "milliseconds": times, "items a second": rate, "peak MiB": memory}


def rows() -> Iterator[tuple[str, Callable[[], gpu_rows.Rows]]]:
    """Yields the rows, the most important first."""
    block, perceptron, convolutions = cases(REHEARSE)
    few, many, others = (2, 2, []) if REHEARSE else (12, 40, [perceptron, convolutions])
    made: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        ("GPT-2 small, compiled", partial(language_row, True, few)),
        ("GPT-2 small, eager", partial(language_row, False, few)),
        ("GPT block, compiled", partial(whole_row, block, "compiled", many)),
        ("MLP, thinned", partial(thinned_row, perceptron, many)),
        ("ViT, thinned", partial(thinned_row, image_case(REHEARSE), many)),
        *((f"{case.name}, compiled", partial(whole_row, case, "compiled", many)) for case in others),
        *((f"{case.name}, thinned", partial(thinned_row, case, many)) for case in (block, convolutions)),
        *((f"{case.name}, eager", partial(whole_row, case, "eager", many)) for case in (block, perceptron, convolutions)),
    ]
    return ((name, lambda measure=measure: [measure()]) for name, measure in made)


if __name__ == "__main__":
    sys.exit(gpu_rows.run("gpu_steps", rows()))
