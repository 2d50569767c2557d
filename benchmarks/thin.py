"""Compares thinned with dense training steps: `python -m benchmarks.thin [--compile]`, about 4 minutes on 2 cores.

A step is zero_grad, forward, loss, backward and a fused SGD step with momentum, in float32. Candidates alternate; medians.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import thinnet
from benchmarks import thin_networks as networks
from benchmarks.measure import interleaved, write
from benchmarks.thin_memory import bytes_of
from thinnet.methods.elementwise.batchwise_dropout import Count
from thinnet.nn import Dropout, Dropout2d, DropPath

P, GROUPS = 0.5, (1, 2, 4, 8, 16)
Step = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """A network to time.

    Args:
        name: of the network.
        bar: the target for the ratio of thinned to dense.
        rounds: how often each candidate runs.
        shape: of the input.
        make: builds the network with given sites, or without.
        ours: makes a site of thinnet.
        others: builds the networks of the other candidates, by name.
    """

    name: str
    bar: float
    rounds: int
    shape: tuple[int, ...]
    make: Callable[[networks.Make], nn.Module]
    ours: Callable[[], nn.Module]
    others: dict[str, Callable[[], nn.Module]] = field(default_factory=dict)


def mlp_case(batch: int, bar: float, rounds: int, width: int = 1024) -> Case:
    """Returns 784-width-width-10 at a batch size."""
    make = partial(networks.mlp, width)
    others: dict[str, Callable[[], nn.Module]] = {"nn.Dropout": lambda: make(lambda: nn.Dropout(P))}
    others["SparseDrop, dense"] = lambda: make(lambda: networks.BlockMask(P))
    return Case(f"MLP 784-{width}-{width}-10, batch {batch}", bar, rounds, (batch, 784), make, lambda: Dropout(P), others)


def cases() -> Iterator[Case]:
    """Returns the networks that have a target."""
    yield mlp_case(128, 0.60, 101)
    yield mlp_case(512, 0.45, 41)
    yield mlp_case(2048, 0.38, 15)
    yield mlp_case(1024, 0.38, 5, width=4096)
    gpt = partial(networks.Block, 512, True)
    others: dict[str, Callable[[], nn.Module]] = {"nn.Dropout": lambda: gpt(lambda: nn.Dropout(P))}
    yield Case("GPT block, d 512, T 256, batch 16, FFN", 0.75, 11, (16, 256, 512), gpt, lambda: Dropout(P), others)
    conv = partial(networks.conv_stage, 128)
    others = {"nn.Dropout2d": lambda: conv(lambda: nn.Dropout2d(P))}
    yield Case("conv stage, 128 channels, 16 x 16, batch 32", 0.60, 15, (32, 128, 16, 16), conv, lambda: Dropout2d(P), others)
    vit = partial(networks.Block, 384, False, None)
    others = {"mask (timm, torchvision)": lambda: vit(lambda: networks.MaskedPath(P))}
    others |= {"DINOv2's subset": lambda: networks.SubsetBlock(384, P)}
    yield Case("ViT block, d 384, T 197, batch 32, DropPath", 0.60, 9, (32, 197, 384), vit, lambda: DropPath(P), others)


def built(make: Callable[[], nn.Module]) -> nn.Module:
    """Returns a network with the initial weights that all candidates share."""
    torch.manual_seed(0)
    return make()


def thinned(case: Case, groups: int = 1, count: Count = "fixed") -> nn.Module:
    """Returns the network of a case, thinned."""
    model = built(lambda: case.make(case.ours))
    thinnet.thin(model, torch.randn(case.shape), groups=groups, count=count, always=True)
    return model


def step(model: nn.Module, shape: tuple[int, ...]) -> Step:
    """Returns one training step on random data."""
    torch.manual_seed(0)
    x = torch.randn(shape)
    with torch.no_grad():
        y = model(x)
    target = torch.randint(0, y.shape[1], y.shape[:1]) if y.ndim == 2 else torch.randn_like(y)
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy if y.ndim == 2 else F.mse_loss
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)

    def run() -> None:
        optimiser.zero_grad()
        loss(model(x), target).backward()
        optimiser.step()

    return run


def milliseconds(times: dict[str, float]) -> dict[str, float]:
    """Returns seconds as milliseconds."""
    return {name: round(value * 1e3, 2) for name, value in times.items()}


def speed(case: Case, compiled: bool) -> dict[str, object]:
    """Returns the row of a network."""
    models = {"no dropout": built(lambda: case.make(None)), **{name: built(make) for name, make in case.others.items()}}
    models |= {"thinnet": built(lambda: case.make(case.ours)), "thinned": thinned(case)}
    if compiled:
        models["no dropout, compiled"] = torch.compile(built(lambda: case.make(None)))  # type: ignore[assignment]
    times = interleaved({name: step(model, case.shape) for name, model in models.items()}, case.rounds)
    ratio = round(times["thinned"] / times["no dropout"], 3)
    return {"kind": "step", "network": case.name, "bar": case.bar, "thinned": ratio, "milliseconds": milliseconds(times)}


def knob(batch: int, rounds: int) -> dict[str, object]:
    """Returns the cost of groups and of both counts at a batch size."""
    case = mlp_case(batch, 0.0, rounds)
    models = {"no dropout": built(lambda: case.make(None)), "thinnet": built(lambda: case.make(case.ours))}
    models |= {f"groups {groups}": thinned(case, groups) for groups in GROUPS}
    models |= {f"groups {groups}, bernoulli": thinned(case, groups, "bernoulli") for groups in (1, 4)}
    times = interleaved({name: step(model, case.shape) for name, model in models.items()}, rounds)
    return {"kind": "groups", "network": case.name, "milliseconds": milliseconds(times)}


def memory(case: Case) -> dict[str, object]:
    """Returns the bytes that the forward pass keeps for backward, and the peak of a step."""
    models = {"no dropout": built(lambda: case.make(None)), **{name: built(make) for name, make in case.others.items()}}
    models |= {"thinnet": built(lambda: case.make(case.ours)), "thinned": thinned(case)}
    found = {name: bytes_of(model, torch.randn(case.shape)) for name, model in models.items()}
    kept, peak = ({name: round(value[part] / 2**20, 2) for name, value in found.items()} for part in (0, 1))
    return {"kind": "memory", "network": case.name, "MiB kept by forward": kept, "MiB at the peak": peak}


def rows(compiled: bool = False) -> list[dict[str, object]]:
    """Returns the rows of all networks, of groups, and of memory."""
    found = [speed(case, compiled) for case in cases()]
    found += [knob(batch, rounds) for batch, rounds in ((512, 21), (2048, 9))]
    return found + [memory(case) for case in cases()]


def main(arguments: list[str]) -> int:
    """Measures, writes the result file and prints the table; returns the exit status."""
    from benchmarks import thin_tables

    if set(arguments) - {"--compile"}:
        print(f"benchmarks.thin: the only option is --compile; got {' '.join(arguments)}.", file=sys.stderr)
        return 2
    torch.set_num_threads(2)
    write("thin", rows("--compile" in arguments))
    print(thin_tables.thin())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
