"""Level "functions": what feeds what, from module to module and through the functions of PyTorch in between."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from thinnet.models.trace.modules import Modules
from thinnet.models.trace.record import Call, Node, Value

Whole = Callable[[nn.Module], bool]


@dataclass(frozen=True)
class Functions:
    """A callback for calls to functions; nothing is stored.

    Args:
        of: the functions.
        meet: takes the call of the module that runs, the function, its arguments and its named arguments.
        bodies: functions of PyTorch that call others, with a form that lets these be seen.
    """

    of: Collection[Callable[..., Any]]
    meet: Callable[[Call, Callable[..., Any], Any, Any], None]
    bodies: Mapping[Callable[..., Any], Callable[..., Any]] = field(default_factory=dict)


class FunctionMode(TorchFunctionMode):
    """Shows the calls of functions to the callbacks of a trace."""

    def __init__(self, modules: Modules, functions: Functions | None) -> None:
        super().__init__()
        self.modules, self.functions = modules, functions
        self.read = modules.values.functions if modules.values is not None else ()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the function behind the callbacks."""
        kwargs = kwargs or {}
        if func in self.read and self.modules.running:
            x = args[0] if args else kwargs["input"]
            args = (self.modules.met("call", x), *args[1:])
            kwargs = {name: value for name, value in kwargs.items() if name != "input"}
        functions = self.functions
        if functions is None:
            return func(*args, **kwargs)
        if func in functions.of and self.modules.running:
            functions.meet(self.modules.running[-1], func, args, kwargs)
        if func in functions.bodies:
            with self:
                return functions.bodies[func](*args, **kwargs)
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    """Notes the operations that the running function dispatches."""

    def __init__(self) -> None:
        super().__init__()
        self.node: Node | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.node is not None:
            self.node.operations.append(func)
        return func(*args, **(kwargs or {}))


class Graph(TorchFunctionMode):
    """The nodes of one pass, in order, and the values between them.

    Args:
        modules: of the pass.
        whole: which modules are one node; the functions in such a module are no nodes.
        distinct: whether a whole module that returns an input as it is returns another tensor, to tell the two apart.
    """

    def __init__(self, modules: Modules, whole: Whole, distinct: bool = False) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.operations = _Operations()
        self._modules, self._whole, self._distinct = modules, whole, distinct
        self._values: dict[int, Value] = {}
        self._held: list[Tensor] = []  # so that no other tensor gets the id of one
        self._open: list[tuple[Call, Node, dict[int, int]]] = []  # whole modules that run
        modules.graph = self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs a function, and notes it where it is not part of a whole module."""
        kwargs = kwargs or {}
        if self._open or self.operations.node is not None:
            return func(*args, **kwargs)
        node = Node(getattr(func, "__name__", str(func)), self._modules.place, None)
        read = self._read(node, (args, kwargs))
        self.operations.node = node
        try:
            out = func(*args, **kwargs)
        finally:
            self.operations.node = None
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if node.operations or any(id(leaf) not in self._values for leaf in made):
            self._made(node, made + (read[:1] if node.name == "__setitem__" else []))
        return out

    def enter(self, call: Call, args: Any) -> None:
        """Opens a whole module."""
        call.entry = self._value(args[0]) if args and isinstance(args[0], Tensor) else None
        if not self._open and call.module in self._modules.names and self._whole(call.module):
            node = Node(call.name, call.name, call.module)
            read = self._read(node, args)
            self._open.append((call, node, {id(tensor): _version(tensor) for tensor in read}))
        call.start = len(self.nodes)

    def leave(self, call: Call, out: Any) -> Any:
        """Closes a whole module."""
        replaced = None
        if self._open and self._open[-1][0] is call:
            _, node, versions = self._open[-1]
            same = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and versions.get(id(leaf)) == _version(leaf)]
            if same and self._distinct:
                ids = {id(leaf) for leaf in same}
                replaced = out = tree_map(lambda leaf: leaf.view_as(leaf) if id(leaf) in ids else leaf, out)
            self._open.pop()
            self._made(node, [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)])
        call.end = len(self.nodes)
        return replaced

    def returned(self, out: Any) -> None:
        """Notes what the model returns."""
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and id(leaf) in self._values:
                self._values[id(leaf)].returned = True

    def _value(self, tensor: Tensor) -> Value:
        if id(tensor) not in self._values:
            self._held.append(tensor)
            self._values[id(tensor)] = Value(tensor)
        return self._values[id(tensor)]

    def _read(self, node: Node, given: Any) -> list[Tensor]:
        tensors = [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
        node.inputs = [self._value(tensor) for tensor in tensors]
        return tensors

    def _made(self, node: Node, made: list[Tensor]) -> None:
        self.nodes.append(node)
        for value in node.inputs:
            value.uses.append(node)
        for tensor in made:
            self._held.append(tensor)
            self._values[id(tensor)] = Value(tensor, node)
            node.outputs.append(self._values[id(tensor)])


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def pointwise(node: Node) -> bool:
    """Returns whether a function computes each element from that element alone, and draws nothing."""
    return node.module is None and bool(node.operations) and all(_by_element(operation) for operation in node.operations)


def _by_element(operation: Any) -> bool:
    seeded = torch.Tag.nondeterministic_seeded in operation.tags
    return not seeded and (torch.Tag.pointwise in operation.tags or operation.name() in BY_ELEMENT)


BY_ELEMENT = frozenset(  # pointwise operations without PyTorch's tag; in the second line, before 2.13
    f"aten::{name}"
    for name in (
        "detach alias clone _to_copy lift_fresh contiguous hardswish hardswish_ hardtanh hardtanh_ relu6 "
        "leaky_relu leaky_relu_ celu_ elu_ hardsigmoid_ selu_"
    ).split()
)
