"""Finds the residual branch that a site ends: everything between the entry of its shortcut and the site."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from thinnet.methods.residual.separable import mixing
from thinnet.models.thin.piece import Obstacle
from thinnet.models.trace import Trace
from thinnet.models.trace.record import Call, Node, Value

ADDS = ("aten::add.Tensor", "aten::add_.Tensor")


@dataclass(eq=False)
class Residual:
    """A branch of one pass.

    Args:
        site: the site at its end.
        entry: the value that both the branch and the shortcut read.
        nodes: of the branch, in order.
        readers: the calls of modules that read the entry, in order.
    """

    site: Node
    entry: Value
    nodes: list[Node]
    readers: list[Call] = field(default_factory=list)


def residual_at(record: Trace, site: Node) -> Residual:
    """Returns the branch that a site ends; raises an `Obstacle` if it cannot run on some samples."""
    if len(site.inputs) != 1 or len(site.outputs) != 1:
        raise Obstacle("it is not called with one tensor")
    before = record.nodes[: record.nodes.index(site)]
    for entry in _shortcuts(site.outputs[0]):
        nodes = _between(before, entry, site.inputs[0])
        if nodes:
            break
    else:
        raise Obstacle("no shortcut is added to its output")
    found = Residual(site, entry, nodes)
    samples = entry.tensor.shape[:1]
    if samples != site.inputs[0].tensor.shape[:1]:
        raise Obstacle("its branch changes the number of samples")
    if not samples or samples[0] < 2:
        raise Obstacle("the example has one sample, which cannot show that samples are independent; give two")
    _check(found)
    _find_readers(found, record)
    return found


def _shortcuts(value: Value) -> list[Value]:
    """Returns the values that are added to a value, also after functions of it alone."""
    found = []
    for node in value.uses:
        if node.module is None and any(operation.name() in ADDS for operation in node.operations):
            found += [other for other in node.inputs if other is not value]
        elif node.module is None and len(node.outputs) == 1:
            found += _shortcuts(node.outputs[0])
    return found


def _between(nodes: Sequence[Node], entry: Value, last: Value) -> list[Node]:
    """Returns the nodes on the way from `entry` to `last`."""
    after, before = {entry}, {last}
    behind = [node for node in nodes if after & set(node.inputs) and not after.update(node.outputs)]
    return [node for node in reversed(behind) if before & set(node.outputs) and not before.update(node.inputs)][::-1]


def _check(found: Residual) -> None:
    inside = {*found.nodes, found.site}
    for node in found.nodes:
        other = next((use for value in node.outputs for use in value.uses if use not in inside), None)
        if other is not None or any(value.returned for value in node.outputs):
            raise Obstacle(f"{other or 'the caller of the model'} also reads the output of {node}")
        if node.module is not None and mixing(node.module.modules()) is not None:
            raise Obstacle(f"{node} ({type(node.module).__name__}) combines several samples")
        if any(_draws(operation) for operation in node.operations):
            step = "call thinnet.replace(model, functional=True, example=x) first"
            raise Obstacle(f"{node} draws noise without an address; {step}")


def _draws(operation: Any) -> bool:
    """Returns whether an operation draws random numbers. Attention may or may not: the check decides."""
    return torch.Tag.nondeterministic_seeded in operation.tags and "attention" not in operation.name()


def _find_readers(found: Residual, record: Trace) -> None:
    """Finds the modules that read the entry. A function that reads it must be inside a module that was called with it."""
    at = {node: index for index, node in enumerate(record.nodes)}
    inside = set(found.nodes)
    reading = [node for node in found.nodes if found.entry in node.inputs]
    for node in sorted(reading, key=lambda node: node.module is not None):
        index = at[node]
        if any(call.start <= index < call.end for call in found.readers):
            continue
        holding = [call for call in record.calls if call.start <= index < call.end and call.entry is found.entry]
        holding = [call for call in holding if all(each in inside for each in record.nodes[call.start : call.end])]
        if not holding:
            raise Obstacle(f"{node} reads its entry outside a module of the branch that is called with it")
        found.readers.append(holding[-1])
    outer = [call for call in found.readers if not any(_holds(other, call) for other in found.readers)]
    found.readers = sorted(outer, key=lambda call: call.start)


def _holds(outer: Call, inner: Call) -> bool:
    return outer is not inner and outer.start <= inner.start and inner.end <= outer.end


def outside(found: Residual, own: set[int]) -> str:
    """Returns the end of a sentence that names another input with samples, or "". `own`: ids of parameters and buffers."""
    inside, size = set(found.nodes), len(found.entry.tensor)
    for node in found.nodes:
        for value in node.inputs:
            elsewhere = value is not found.entry and value.made not in inside and id(value.tensor) not in own
            if elsewhere and value.tensor.ndim and len(value.tensor) == size:
                return f"; {node} also reads {value.made or 'an argument of the model'}, whose samples are not gathered"
    return ""
