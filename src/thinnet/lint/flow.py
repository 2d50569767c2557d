"""Which operation comes before which: in a `Sequential`, in nested calls, and down the straight lines of a function."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libcst as cst

from thinnet.lint.calls import argument
from thinnet.lint.scopes import targets
from thinnet.lint.spelling import DROPOUT_LAYERS, plain
from thinnet.lint.tree import Tree, is_self

DROPOUTS = frozenset(plain(name) for name in DROPOUT_LAYERS)
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
    """A layer or a function at work: `torch.nn.Tanh`, `torch.tanh`, `F.tanh` and `x.tanh` all have the name `tanh`.

    Args:
        name: which operation.
        at: the call that a reader would point at.
        settings: the call that holds its options: for a layer the one that made it.
        input: what it works on; None inside of a `Sequential`.
    """

    name: str
    at: cst.Call
    settings: cst.Call
    input: cst.BaseExpression | None


def operation(tree: Tree, node: cst.BaseExpression | None) -> Operation | None:
    """Returns what a call does; None where that is not certain."""
    if not isinstance(node, cst.Call):
        return None
    name, func = tree.name(node.func), node.func
    if name is not None:
        is_layer = plain(name) != name.rpartition(".")[2].replace("_", "")
        if is_layer != (sequence(tree, node) is not None) or not name.startswith("torch."):
            return None
        return Operation(plain(name), node, node, None if is_layer else argument(node, "input", 0))
    made = layer(tree, func)
    if made is not None:
        return Operation(plain(tree.name(made.func) or ""), node, made, argument(node, "input", 0))
    if isinstance(func, cst.Attribute) and not is_self(func):
        return Operation(plain(func.attr.value), node, node, func.value)
    return None


def layer(tree: Tree, node: cst.BaseExpression) -> cst.Call | None:
    """Returns the call that made the `torch.nn` layer behind an expression."""
    made = tree.value(node)
    name = tree.name(made.func) if isinstance(made, cst.Call) else None
    is_layer = name is not None and name.startswith("torch.nn.") and name.rpartition(".")[2][:1].isupper()
    return made if isinstance(made, cst.Call) and is_layer else None


def sequence(tree: Tree, node: cst.CSTNode) -> Sequence[cst.Arg | cst.BaseElement] | None:
    """Returns the layers written out in the `Sequential(...)` or `Sequential(*[...])` that a layer stands in."""
    holder = tree.parent(node)
    around = tree.parent(holder)
    if isinstance(around, (cst.List, cst.Tuple)):
        star = tree.parent(around)
        call = tree.parent(star) if isinstance(star, cst.Arg) and star.star == "*" else None
        return around.elements if is_sequential(tree, call) else None
    return around.args if isinstance(around, cst.Call) and isinstance(holder, cst.Arg) and is_sequential(tree, around) else None


def is_sequential(tree: Tree, node: cst.CSTNode | None) -> bool:
    """Says whether a node makes an `nn.Sequential`."""
    return isinstance(node, cst.Call) and tree.name(node.func) == "torch.nn.Sequential"


def neighbour(tree: Tree, at: cst.Call, step: int) -> Operation | None:
    """Returns the layer some steps after, or before, another in the `Sequential` that both are written in."""
    row = sequence(tree, at) or ()
    places = [part.value for part in row]
    index = next((i for i, value in enumerate(places) if value is at), -1) + step
    return operation(tree, places[index]) if 0 <= index < len(places) else None


def before(tree: Tree, op: Operation) -> Operation | None:
    """Returns the operation whose result an operation takes."""
    return neighbour(tree, op.at, -1) if sequence(tree, op.at) is not None else made_by(tree, op.input)


def back(tree: Tree, op: Operation) -> Iterator[Operation]:
    """Yields the operations before an operation, the nearest first, as far as they are certain."""
    seen = {op.at}
    previous = before(tree, op)
    while previous is not None and previous.at not in seen:
        yield previous
        seen.add(previous.at)
        previous = before(tree, previous)


def made_by(tree: Tree, node: cst.BaseExpression | None) -> Operation | None:
    """Returns the operation that an expression is the result of."""
    for _ in range(8):
        if not isinstance(node, cst.Name):
            return operation(tree, node)
        node = assigned_before(tree, node)
    return None


def assigned_before(tree: Tree, name: cst.Name) -> cst.BaseExpression | None:
    """Returns what was assigned to a local name last, if only straight lines lie in between."""
    line = tree.above(name, cst.SimpleStatementLine)
    block = tree.parent(line)
    if not isinstance(block, cst.IndentedBlock):
        return None
    index = next(i for i, statement in enumerate(block.body) if statement is line)
    for statement in reversed(block.body[:index]):
        value, touched = _assigned(tree, statement, name.value)
        if touched:
            return value
    return None


def _assigned(tree: Tree, statement: cst.CSTNode, name: str) -> tuple[cst.BaseExpression | None, bool]:
    """Returns what a statement assigns to a name, None if that cannot be followed, and whether it touches the name."""
    if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
        (small,) = statement.body
        if isinstance(small, cst.Assign) and len(small.targets) == 1 and _is(small.targets[0].target, name):
            return small.value, True
    bound = (target for node in tree.under(statement, cst.CSTNode) for target, _ in targets(node))
    return None, any(_is(target, name) for target in bound)


def _is(node: cst.CSTNode, name: str) -> bool:
    return isinstance(node, cst.Name) and node.value == name
