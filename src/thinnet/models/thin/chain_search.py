"""Finds the chains of a model: producers -> element-wise functions -> dropout of units -> consumers.

From a site, the search goes back to the layers that make its units, and forward to the layers that read them. Functions in
between must act on each unit alone; behind the site, they must also map zero to zero.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from thinnet.models.rewrite.methods import Replacement
from thinnet.models.thin.layers import Layer, layer_of
from thinnet.models.thin.piece import Obstacle
from thinnet.models.trace.functions import pointwise
from thinnet.models.trace.reads import follow
from thinnet.models.trace.record import Node, Value

POOLS = ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool", "upsample", "interpolate")
RESHAPES = ("flatten", "view", "reshape")


class Probe(Replacement):
    """Replaces `forward` of a site during the search: it drops every second unit, whatever the rate.

    Args:
        module: the site.
        axis: of the units.
    """

    def __init__(self, module: nn.Module, axis: int) -> None:
        super().__init__(module)
        self.axis = axis

    def __call__(self, x: Tensor) -> Tensor:
        """Returns `x` with every second unit set to zero."""
        if not -x.ndim <= self.axis < x.ndim:
            return x.clone()
        return torch.where(dropped_by_probe(x.shape[self.axis], x.device).reshape(shape_along(x, self.axis)), 0, x)


def dropped_by_probe(units: int, device: torch.device) -> Tensor:
    """Returns a mask of the units that the probe drops."""
    return torch.arange(units, device=device) % 2 == 0


def shape_along(x: Tensor, axis: int) -> list[int]:
    """Returns the shape of one number for each unit that broadcasts over `x`."""
    return [size if other == axis % x.ndim else 1 for other, size in enumerate(x.shape)]


@dataclass(eq=False)
class Found:
    """A chain in one pass.

    Args:
        site: the dropout.
        axis: of the units: -1 for features, 1 for channels.
        units: their number.
        producers: the layers that make them, in the order of execution.
        norms: the batch normalisations in between.
        consumers: the layers that read them, each with the number of its inputs that belong to one unit.
    """

    site: Node
    axis: int
    units: int
    producers: list[Node] = field(default_factory=list)
    norms: list[Node] = field(default_factory=list)
    consumers: list[tuple[Node, int]] = field(default_factory=list)

    @property
    def direct(self) -> bool:
        """Whether the consumers read the output of the site directly."""
        return all(node.inputs[0] is self.site.outputs[0] for node, _ in self.consumers)

    def parts(self) -> Iterator[tuple[str, Node]]:
        """Yields every module of the chain with its part in it."""
        yield "site", self.site
        yield from (("producer", node) for node in self.producers)
        yield from (("norm", node) for node in self.norms)
        yield from (("consumer", node) for node, _ in self.consumers)


def chain_at(nodes: Sequence[Node], site: Node, axis: int) -> Found:
    """Returns the chain around a site; raises an `Obstacle` if there is none."""
    if len(site.inputs) != 1 or len(site.outputs) != 1:
        raise Obstacle("it is not called with one tensor")
    x = site.inputs[0].tensor
    if axis == -1 and x.ndim > 3:
        raise Obstacle("it drops elements of a feature map; Dropout2d drops whole channels")
    if x.ndim < 2 or not 1 <= axis % x.ndim:
        raise Obstacle("its input has no axis of units behind axis 0")
    found, index = Found(site, axis, x.shape[axis]), nodes.index(site)
    _backwards(found, nodes[:index])
    _forwards(found, nodes[index + 1 :])
    return found


def _backwards(found: Found, before: Sequence[Node]) -> None:
    """Goes back to the layers that make the dropped units."""
    wanted, known = {found.site.inputs[0]}, [found.site]
    for node in reversed(before):
        made = [value for value in node.outputs if value in wanted]
        if not made:
            continue
        known.append(node)
        for value in made:
            other = next((use for use in value.uses if use not in known), None)
            if other is not None or value.returned:
                raise Obstacle(f"{other or 'the caller of the model'} also reads the output of {node}")
        layer = None if node.module is None else layer_of(node.module)
        if layer is not None:
            _check_layer(node, layer, layer.outputs == found.units and layer.axis == found.axis, "has other output units")
            found.producers.insert(0, node)
        else:
            wanted |= set(_looked_through(found, node))
    outside = [value for value in wanted if value.made is None]
    if outside or not found.producers:
        raise Obstacle("no layer computes its input")


def _looked_through(found: Found, node: Node) -> list[Value]:
    """Returns the inputs of a node that acts on each unit alone."""
    if isinstance(node.module, _BatchNorm):
        _check_norm(node, node.module, found)
        found.norms.insert(0, node)
        return node.inputs
    if node.module is not None:
        raise Obstacle(f"{node} ({type(node.module).__name__}) is between it and a layer")
    return _with_units(node, found.axis, found.units)


def _with_units(node: Node, axis: int, units: int) -> list[Value]:
    """Returns the inputs of a function that have units; raises an `Obstacle` if it mixes units."""
    if not pointwise(node) and not (axis == 1 and any(node.name.startswith(pool) for pool in POOLS)):
        raise Obstacle(f"{node} mixes units")
    out, carrying = node.outputs[0].tensor, []
    for value in node.inputs:
        tensor = value.tensor
        if tensor.numel() == 1 or (tensor.ndim == out.ndim and tensor.shape[axis] == 1):
            continue
        if tensor.ndim != out.ndim or tensor.shape[axis] != units:
            raise Obstacle(f"{node} changes the shape")
        carrying.append(value)
    return carrying


def _check_norm(node: Node, norm: _BatchNorm, found: Found) -> None:
    if type(norm).forward is not _BatchNorm.forward or norm.num_features != found.units:
        raise Obstacle(f"{node} ({type(norm).__name__}) is no plain batch normalisation of these units")
    if norm.track_running_stats and norm.momentum is None:
        raise Obstacle(f"{node} averages over all steps (momentum=None), and thinning would skip some")
    if found.axis != 1 and node.inputs[0].tensor.ndim != 2:
        raise Obstacle(f"{node} normalises another axis")


def _check_layer(node: Node, layer: Layer, fits: bool, why: str) -> None:
    if not fits:
        raise Obstacle(f"{node} {why}")
    if layer.refuses:
        raise Obstacle(f"{node} {layer.refuses}")
    if len(node.inputs) != 1:
        raise Obstacle(f"{node} is not called with one tensor")


def _forwards(found: Found, behind: Sequence[Node]) -> None:
    """Follows the dropped units to the layers that read them."""

    def step(node: Node, runs: Mapping[Value, int]) -> int | None:
        if not runs:
            return None
        run = next(iter(runs.values()))
        layer = None if node.module is None else layer_of(node.module)
        if layer is not None:
            features = run > 1 or node.inputs[0].tensor.ndim == 2
            fits = layer.inputs == found.units * run and layer.axis == (-1 if features else found.axis)
            _check_layer(node, layer, fits, "has other input units")
            found.consumers.append((node, run))
            return None
        if node.module is not None:
            raise Obstacle(f"{node} ({type(node.module).__name__}) reads it, and needs all units")
        return _run_behind(found, node, runs, run)

    for value in follow(behind, {found.site.outputs[0]: 1}, step):  # how many numbers a unit has in each value
        if value.returned or not value.uses:
            raise Obstacle("no layer reads its output" if not value.returned else "the model returns its output")


def _run_behind(found: Found, node: Node, runs: Mapping[Value, int], run: int) -> int:
    """Returns how many numbers a unit has behind a function; raises an `Obstacle` if it does not map zero to zero."""
    flat = _flattened(found, node, run)
    if flat is None and any(
        value not in runs for value in _with_units(node, found.axis if run == 1 else -1, found.units * run)
    ):
        raise Obstacle(f"{node} adds units that were not dropped")
    run, axis = flat or run, found.axis if (flat or run) == 1 else -1
    out = node.outputs[0].tensor.detach().movedim(axis, 0).flatten(1)
    if bool((out[dropped_by_probe(found.units, out.device).repeat_interleave(run)] != 0).any()):
        raise Obstacle(f"{node} does not map zero to zero")
    return run


def _flattened(found: Found, node: Node, run: int) -> int | None:
    """Returns how many numbers a channel has after flattening `(N, C, ...)` to `(N, C ...)`; None for another function."""
    if node.name not in RESHAPES or found.axis != 1 or run != 1:
        return None
    before, after = node.inputs[0].tensor.shape, node.outputs[0].tensor.shape
    if len(after) != 2 or after[0] != before[0]:
        raise Obstacle(f"{node} changes the shape")
    return prod(before[2:])


def used_elsewhere(found: Sequence[Found], nodes: Sequence[Node]) -> dict[Found, str]:
    """Returns, with a reason, the chains that use a module which also runs outside them: it would be thinned there too."""
    runs: dict[nn.Module | None, int] = {}
    parts: dict[tuple[nn.Module | None, str], int] = {}
    for node in nodes:
        runs[node.module] = runs.get(node.module, 0) + 1
    for chain in found:
        for part, node in chain.parts():
            parts[node.module, part] = parts.get((node.module, part), 0) + 1
    return {
        chain: f"{node} also runs elsewhere"
        for chain in found
        for part, node in chain.parts()
        if parts[node.module, part] != runs[node.module]
    }
