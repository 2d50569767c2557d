"""What a trace records: calls of modules, functions, and the values that pass between them."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(eq=False)
class Value:
    """A tensor of a pass. A tensor that is written to in place is another value from then on.

    Args:
        tensor: the tensor.
        made: the node that made it; None for inputs, parameters and constants.
        uses: the nodes that read it.
        returned: whether the model returns it.
    """

    tensor: Tensor
    made: "Node | None" = None
    uses: list["Node"] = field(default_factory=list)
    returned: bool = False


@dataclass(eq=False)
class Node:
    """One call of a function, or of a module that counts as a whole.

    Args:
        name: the path of the module, or the name of the function.
        inside: the path of the innermost module that ran.
        module: None for a function.
        inputs: the values that it read.
        outputs: the values that it made.
        operations: the operations that a function dispatched.
    """

    name: str
    inside: str
    module: nn.Module | None
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    operations: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name if self.module is not None else f"{self.name} in {self.inside or 'the model'}"


@dataclass(eq=False)
class Call:
    """One call of a module.

    Args:
        module: the module.
        name: its path; of a module that is no part of the model, the path of its caller and its class.
        entry: the value of its first argument, at level "functions".
        start, end: how many nodes there were before the call and after it.
    """

    module: nn.Module
    name: str
    entry: Value | None = None
    start: int = 0
    end: int = -1
