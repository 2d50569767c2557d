"""Which layers read the units of a tensor: marks carried along the flow of data."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from thinnet.models.trace.record import Node, Value

Mark = TypeVar("Mark")


def follow(
    nodes: Iterable[Node], marks: dict[Value, Mark], step: Callable[[Node, dict[Value, Mark]], Mark | None]
) -> dict[Value, Mark]:
    """Carries marks forward through the nodes of a pass, and returns every marked value.

    Args:
        nodes: in the order in which they ran.
        marks: of the values to start from.
        step: takes a node and its marked inputs with their marks, and returns the mark of its outputs; None where the trail
            ends, as at a layer that reads the units.
    """
    marks = dict(marks)
    for node in nodes:
        mark = step(node, {value: marks[value] for value in node.inputs if value in marks})
        if mark is not None:
            marks |= dict.fromkeys(node.outputs, mark)
    return marks
