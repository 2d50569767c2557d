"""What feeds what: the graph of one pass of a model, from module to module and through the functions in between.

Layers and sites are nodes as a whole; each function of PyTorch that is called outside of them is one too, with the operations
that it came to. A value is a tensor as Python sees it; written to in place, it is another value from then on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Whole = Callable[[nn.Module], bool]


@dataclass(eq=False)
class Value:
    """A tensor of the pass.

    Args:
        tensor: as it was.
        made: the node that made it; None where it comes from outside: inputs, parameters, constants.
        uses: the nodes that read it.
        returned: whether the model returns it.
    """

    tensor: Tensor
    made: "Node | None" = None
    uses: list["Node"] = field(default_factory=list)
    returned: bool = False


@dataclass(eq=False)
class Node:
    """A module that counts as a whole, or a function, in one use.

    Args:
        name: the path of the module, or the name of the function.
        inside: the path of the innermost module that ran.
        module: None for a function.
        inputs: the values that it read.
        outputs: the values that it made.
        operations: what a function came to.
    """

    name: str
    inside: str
    module: nn.Module | None
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    operations: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name if self.module is not None else f"{self.name} in {self.inside or 'the model'}"


class _Operations(TorchDispatchMode):
    """Notes the operations that the function which runs comes to."""

    def __init__(self) -> None:
        super().__init__()
        self.node: Node | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.node is not None:
            self.node.operations.append(func)
        return func(*args, **(kwargs or {}))


class Flow(TorchFunctionMode):
    """The nodes of one pass, in order.

    Args:
        model: what runs.
        whole: which modules are one node.
    """

    def __init__(self, model: nn.Module, whole: Whole) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self._names = {module: name for name, module in model.named_modules()}
        self._whole = whole
        self._values: dict[int, Value] = {}
        self._held: list[Tensor] = []  # so that no other tensor gets the number of one
        self._stack: list[str] = [""]
        self._open: list[Node] = []  # modules that are one node, and run
        self._operations = _Operations()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs a function, and notes it where it is not a part of a whole module."""
        kwargs = kwargs or {}
        if self._open or self._operations.node is not None:
            return func(*args, **kwargs)
        node = Node(getattr(func, "__name__", str(func)), self._stack[-1], None)
        read = self._read(node, (args, kwargs))
        self._operations.node = node
        try:
            out = func(*args, **kwargs)
        finally:
            self._operations.node = None
        if node.operations:
            written = read[:1] if node.name == "__setitem__" else []
            self._made(node, [out, written])
        return out

    def _value(self, tensor: Tensor) -> Value:
        if id(tensor) not in self._values:
            self._held.append(tensor)
            self._values[id(tensor)] = Value(tensor)
        return self._values[id(tensor)]

    def _read(self, node: Node, given: Any) -> list[Tensor]:
        tensors = [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
        node.inputs = [self._value(tensor) for tensor in tensors]
        return tensors

    def _made(self, node: Node, out: Any) -> None:
        self.nodes.append(node)
        for value in node.inputs:
            value.uses.append(node)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._held.append(tensor)
                self._values[id(tensor)] = Value(tensor, node)
                node.outputs.append(self._values[id(tensor)])

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        name = self._names.get(module, self._stack[-1])
        self._stack.append(name)
        if not self._open and module in self._names and self._whole(module):
            node = Node(name, name, module)
            self._read(node, (args, kwargs))
            self._open.append(node)

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        self._stack.pop()
        if self._open and self._open[-1].module is module:
            self._made(self._open.pop(), out)

    def run(self, call: Callable[[], Any]) -> None:
        """Runs the model and notes what it does."""
        handles = [
            hooks.register_module_forward_pre_hook(lambda module, args: self._enter(module, args, {})),
            hooks.register_module_forward_hook(lambda module, args, out: self._leave(module, args, {}, out)),
        ]
        try:
            with self._operations, self:
                out = call()
        finally:
            for handle in handles:
                handle.remove()
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and id(tensor) in self._values:
                self._values[id(tensor)].returned = True


def pointwise(node: Node) -> bool:
    """Returns whether a function looks at each element by itself, and draws nothing."""
    return node.module is None and all(_by_element(operation) for operation in node.operations)


def _by_element(operation: Any) -> bool:
    seeded = torch.Tag.nondeterministic_seeded in operation.tags
    return not seeded and (torch.Tag.pointwise in operation.tags or operation.name() in BY_ELEMENT)


BY_ELEMENT = frozenset(  # what is not tagged so, though it is
    f"aten::{name}"
    for name in "detach alias clone _to_copy lift_fresh contiguous hardswish hardswish_ hardtanh hardtanh_ relu6".split()
)


def flow(model: nn.Module, call: Callable[[], Any], whole: Whole) -> Sequence[Node]:
    """Returns the nodes of one pass, in order. It is run as it is: see `untouched` for what has to be put back.

    Args:
        model: the model.
        call: runs it.
        whole: which modules count as one node.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> x = torch.ones(3, 4)
    >>> nodes = flow(model, lambda: model(x), lambda module: isinstance(module, nn.Linear))
    >>> [str(node) for node in nodes], pointwise(nodes[1]), nodes[1].inputs[0].made is nodes[0]
    (['0', 'relu in 1', '2'], True, True)
    """
    watch = Flow(model, whole)
    watch.run(call)
    return watch.nodes
