"""Estimates which chains take longer thinned than dense: narrow layers, low rates, small batches. Float32 on a CPU.

    thinned: operations / SPEED + weights taken * PER_WEIGHT + chains * PER_CHAIN
    dense:   operations / SPEED + numbers dropped * PER_DROPPED

The numbers are fitted to steps of one thread (`python -m benchmarks.thin_pays`). The estimate depends on shapes, rates and
the number of threads alone, so each run and each rank of a training makes the same choice.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from thinnet.models.thin.chain_search import Found
from thinnet.models.thin.layers import layer_of
from thinnet.models.trace.record import Node

SPEED = 115e9  # operations of a product a second, one thread
PER_WEIGHT = 0.85e-9  # seconds to take a number of a weight, one thread
PER_CHAIN = 220e-6  # seconds of Python, autograd and the selection of units
PER_DROPPED = 6e-9  # seconds of `nn.Dropout` for each number, forward and backward; it runs on one thread


@dataclass
class _Work:
    """One call of a layer in training: the sites that it reads and makes, the products of a step, and its weights."""

    reads: nn.Module | None
    makes: nn.Module | None
    products: int  # forward, for the weights and, unless its input is that of the model, for the input
    operations: float  # of one product
    weights: int


def slower(found: Sequence[Found], groups: int) -> dict[nn.Module, float]:
    """Returns the sites whose chains take longer thinned, and by how many seconds a step.

    A layer may belong to two chains, so the slowest is left out first, and the others are estimated again.
    """
    work, kept, drop = _work(found), dict[nn.Module, float](), dict[nn.Module, float]()
    for site, numbers in ((one.site.module, one.site.inputs[0].tensor.numel()) for one in found):
        p = float(site.p or 0)  # type: ignore[union-attr, arg-type]
        if site is not None and 0 < p < 1:  # at another rate nothing is skipped now; a schedule may change it
            kept[site] = 1 - p
            drop[site] = drop.get(site, 0.0) + (numbers * PER_DROPPED if isinstance(site, nn.Dropout) else 0.0)
    left: dict[nn.Module, float] = {}
    while _is_known(found) and (chains := kept.keys() - left.keys()):
        whole = _time(work, kept, chains, groups)
        losses = {site: whole - _time(work, kept, chains - {site}, groups) - drop[site] for site in kept if site in chains}
        worst = max(losses, key=losses.__getitem__)
        if losses[worst] <= 0:
            break
        left[worst] = losses[worst]
    return left


def _is_known(found: Sequence[Found]) -> bool:
    tensors = [value.tensor for one in found for _, node in one.parts() for value in (*node.inputs[:1], *node.outputs)]
    return all(tensor.is_cpu and tensor.dtype == torch.float32 for tensor in tensors)


def _work(found: Sequence[Found]) -> list[_Work]:
    work: dict[Node, _Work] = {}
    for one in found:
        for node, reads in (*((node, False) for node in one.producers), *((node, True) for node, _ in one.consumers)):
            each = work.setdefault(node, _of(node))
            each.reads, each.makes = (one.site.module, each.makes) if reads else (each.reads, one.site.module)
    return list(work.values())


def _of(node: Node) -> _Work:
    assert node.module is not None
    layer, weights = layer_of(node.module), node.module.weight.numel()  # type: ignore[operator, union-attr]
    assert layer is not None
    operations = 2.0 * node.outputs[0].tensor.numel() * weights / layer.outputs
    return _Work(None, None, 2 if node.inputs[0].made is None else 3, operations, weights)


def _time(work: Sequence[_Work], kept: Mapping[nn.Module, float], chains: Collection[nn.Module], groups: int) -> float:
    """Returns the seconds of the layers in a training step where these chains are thinned."""
    total = 0.0
    for each in work:
        on = [site for site in (each.reads, each.makes) if site is not None and site in chains]
        part = 1.0
        for site in on:
            part *= kept[site]
        total += each.products * each.operations * part / SPEED
        total += (each.products - 1) * each.weights * part * groups * PER_WEIGHT if on else 0.0
    return total / torch.get_num_threads() + len(chains) * groups * PER_CHAIN
