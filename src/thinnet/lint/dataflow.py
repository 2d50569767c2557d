"""The order of operations: in a `Sequential`, in nested calls, and in the straight-line code of a function."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libcst as cst

from thinnet.lint.arguments import argument
from thinnet.lint.names import DROPOUT_LAYERS, operation_name
from thinnet.lint.scopes import targets
from thinnet.lint.tree import Tree, is_self

DROPOUTS = frozenset(operation_name(name) for name in DROPOUT_LAYERS)
NORMS = frozenset("batchnorm1d batchnorm2d batchnorm3d syncbatchnorm".split())
RESHAPES = frozenset(
    "view reshape flatten unflatten transpose permute contiguous squeeze unsqueeze identity to float half bfloat16".split()
)
ACTIVATIONS = frozenset(
    "relu relu6 leakyrelu prelu rrelu gelu silu mish elu celu selu hardswish hardsigmoid hardtanh sigmoid tanh "
    "softplus softsign tanhshrink".split()
)


@dataclass(frozen=True)
class Operation:
    """A call of a layer or a function. `torch.nn.Tanh`, `torch.tanh`, `F.tanh` and `x.tanh` all have the name `tanh`.

    Args:
        name: the operation.
        call: the call in the source; in a `Sequential`, the constructor of the layer.
        options: the call with the options: for a layer, its constructor.
        input: the expression it is applied to; None in a `Sequential`.
    """

    name: str
    call: cst.Call
    options: cst.Call
    input: cst.BaseExpression | None


def operation(tree: Tree, node: cst.BaseExpression | None) -> Operation | None:
    """Returns the operation of a call; None where that is not certain."""
    if not isinstance(node, cst.Call):
        return None
    name, func = tree.name(node.func), node.func
    if name is not None:
        is_layer = operation_name(name) != name.rpartition(".")[2].replace("_", "")
        if is_layer != (siblings(tree, node) is not None) or not name.startswith("torch."):
            return None
        return Operation(operation_name(name), node, node, None if is_layer else argument(node, "input", 0))
    made = constructor(tree, func)
    if made is not None:
        return Operation(operation_name(tree.name(made.func) or ""), node, made, argument(node, "input", 0))
    if isinstance(func, cst.Attribute) and not is_self(func):
        return Operation(operation_name(func.attr.value), node, node, func.value)
    return None


def constructor(tree: Tree, node: cst.BaseExpression) -> cst.Call | None:
    """Returns the call that creates the `torch.nn` layer an expression stands for."""
    made = tree.value(node)
    name = tree.name(made.func) if isinstance(made, cst.Call) else None
    is_layer = name is not None and name.startswith("torch.nn.") and name.rpartition(".")[2][:1].isupper()
    return made if isinstance(made, cst.Call) and is_layer else None


def siblings(tree: Tree, node: cst.CSTNode) -> Sequence[cst.Arg | cst.BaseElement] | None:
    """Returns the layers of the `Sequential(...)` or `Sequential(*[...])` in which a layer is written."""
    holder = tree.parent(node)
    around = tree.parent(holder)
    if isinstance(around, (cst.List, cst.Tuple)):
        star = tree.parent(around)
        call = tree.parent(star) if isinstance(star, cst.Arg) and star.star == "*" else None
        return around.elements if _is_sequential(tree, call) else None
    return (
        around.args if isinstance(around, cst.Call) and isinstance(holder, cst.Arg) and _is_sequential(tree, around) else None
    )


def _is_sequential(tree: Tree, node: cst.CSTNode | None) -> bool:
    return isinstance(node, cst.Call) and tree.name(node.func) == "torch.nn.Sequential"


def predecessor(tree: Tree, op: Operation) -> Operation | None:
    """Returns the operation whose result an operation takes."""
    layers = siblings(tree, op.call)
    if layers is None:
        return _producer(tree, op.input)
    calls = [layer.value for layer in layers]
    index = next((i for i, value in enumerate(calls) if value is op.call), 0)
    return operation(tree, calls[index - 1]) if index > 0 else None


def predecessors(tree: Tree, op: Operation) -> Iterator[Operation]:
    """Yields the operations before an operation, the nearest first, as far as they are certain."""
    seen = {op.call}
    previous = predecessor(tree, op)
    while previous is not None and previous.call not in seen:
        yield previous
        seen.add(previous.call)
        previous = predecessor(tree, previous)


def _producer(tree: Tree, node: cst.BaseExpression | None) -> Operation | None:
    """Returns the operation that computes an expression."""
    for _ in range(8):
        if not isinstance(node, cst.Name):
            return operation(tree, node)
        node = _last_assignment(tree, node)
    return None


def _last_assignment(tree: Tree, name: cst.Name) -> cst.BaseExpression | None:
    """Returns the value of the last assignment to a local name, if only straight-line code follows it."""
    line = tree.above(name, cst.SimpleStatementLine)
    block = tree.parent(line)
    if not isinstance(block, cst.IndentedBlock):
        return None
    index = next(i for i, statement in enumerate(block.body) if statement is line)
    for statement in reversed(block.body[:index]):
        value, is_bound = _assigned(tree, statement, name.value)
        if is_bound:
            return value
    return None


def _assigned(tree: Tree, statement: cst.CSTNode, name: str) -> tuple[cst.BaseExpression | None, bool]:
    """Returns what a statement assigns to a name, None if that is not certain, and whether it binds the name."""
    if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
        (small,) = statement.body
        if isinstance(small, cst.Assign) and len(small.targets) == 1 and _is_name(small.targets[0].target, name):
            return small.value, True
    bound = (target for node in tree.under(statement, cst.CSTNode) for target, _ in targets(node))
    return None, any(_is_name(target, name) for target in bound)


def _is_name(node: cst.CSTNode, name: str) -> bool:
    return isinstance(node, cst.Name) and node.value == name
