"""The order of operations: in sequences of layers, in nested calls, and through the statements of functions."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import libcst as cst

from thinnet.lint.arguments import argument
from thinnet.lint.calls import called, method_named
from thinnet.lint.layers import Layer, is_layer_class, layers, module_class, returned
from thinnet.lint.literals import called_name
from thinnet.lint.names import DROPOUT_LAYERS, operation_name
from thinnet.lint.paths import backward
from thinnet.lint.scopes import targets
from thinnet.lint.sequences import in_sequence, last_elements, previous
from thinnet.lint.tree import Tree, is_self
from thinnet.lint.values import decide

DROPOUTS = frozenset(operation_name(name) for name in DROPOUT_LAYERS)
NORMS = frozenset("batchnorm1d batchnorm2d batchnorm3d syncbatchnorm batchnorm".split())
RESHAPES = frozenset(
    "view reshape flatten unflatten transpose permute contiguous squeeze unsqueeze identity to float half bfloat16 "
    "type viewas reshapeas clone expand swapaxes movedim t".split()
)
ACTIVATIONS = frozenset(
    "relu relu6 leakyrelu prelu rrelu gelu silu mish elu celu selu hardswish hardsigmoid hardtanh sigmoid tanh "
    "softplus softsign tanhshrink".split()
)
LINEAR = frozenset("linear conv1d conv2d conv3d convtranspose1d convtranspose2d convtranspose3d".split())
POOLS = frozenset(f"{kind}pool{n}d" for kind in ("max", "avg", "adaptiveavg", "adaptivemax") for n in (1, 2, 3))
WEIGHTS = re.compile(r"att(?:n|en)|weight|alpha|score|energy|align|gate|coef", re.IGNORECASE)
MAX_FRAMES = 3
MAX_STEPS = 60


@dataclass(frozen=True)
class Frame:
    """A call that the flow has entered.

    Args:
        node: the call, or the element of a sequence whose `forward` runs.
        outer: the call around it.
    """

    node: cst.BaseExpression
    outer: "Frame | None" = None

    def depth(self) -> int:
        """Returns the number of calls around the flow."""
        return 1 if self.outer is None else 1 + self.outer.depth()


@dataclass(frozen=True)
class Operation:
    """A use of a layer or a function. `torch.nn.Tanh`, `torch.tanh`, `F.tanh` and `x.tanh` all have the name `tanh`.

    Args:
        name: the operation.
        node: the use in the source: the call; in a sequence, the element.
        options: the call with the options: for a layer, its constructor.
        input: the expression it is applied to; None in a sequence.
        frame: the calls that the flow has entered to reach it.
    """

    name: str
    node: cst.BaseExpression
    options: cst.Call
    input: cst.BaseExpression | None
    frame: Frame | None = None


def operations(tree: Tree, node: cst.BaseExpression | None, frame: Frame | None = None) -> list[Operation]:
    """Returns the operations that a call, or an element of a sequence, may be."""
    if node is None:
        return []
    if in_sequence(tree, node):
        return [Operation(operation_name(layer.name), node, layer.call, None, frame) for layer in layers(tree, node)]
    if not isinstance(node, cst.Call):
        return []
    name, func = tree.name(node.func), node.func
    if name is not None and name.startswith("torch."):
        return [] if is_layer_class(name) else [Operation(operation_name(name), node, node, argument(node, "input", 0), frame)]
    found = _alternatives(layers(tree, func))
    if found:
        return [Operation(operation_name(layer.name), node, layer.call, argument(node, "input", 0), frame) for layer in found]
    if isinstance(func, cst.Attribute) and not is_self(func) and name is None:
        return [Operation(operation_name(func.attr.value), node, node, func.value, frame)]
    return []


def _alternatives(found: list[Layer]) -> list[Layer]:
    """Returns the layers that one call may apply; none if they differ in kind, as the items of a loop over a network do."""
    names = {operation_name(layer.name) for layer in found}
    is_choice = len(names) == 1 or names <= ACTIVATIONS | {"identity"} or names <= NORMS | {"identity", "layernorm"}
    return found if is_choice else []


def operation(tree: Tree, node: cst.BaseExpression | None) -> Operation | None:
    """Returns the operation of a call, if there is only one."""
    found = operations(tree, node)
    return found[0] if len({op.name for op in found}) == 1 else None


def predecessors(tree: Tree, op: Operation) -> list[Operation]:
    """Returns the operations whose result an operation may take."""
    if op.input is None and in_sequence(tree, op.node):
        return _before_element(tree, op.node, op.frame)
    return producers(tree, op.input, op.frame)


def is_attention(tree: Tree, op: Operation) -> bool:
    """Returns whether names in the statement of an operation say that it computes weights of an attention or a gate."""
    statement = tree.above(op.node, cst.SimpleStatementLine)
    return statement is not None and any(WEIGHTS.search(name.value) for name in tree.under(statement, cst.Name))


def before(tree: Tree, op: Operation, through: Collection[str] = RESHAPES) -> list[Operation]:
    """Returns the nearest operations before an operation, on every path, that have none of these names."""
    return [prior for prior in walk(tree, op, through) if prior.name not in through]


def walk(tree: Tree, op: Operation, through: Collection[str]) -> Iterator[Operation]:
    """Yields the operations before an operation, the nearest first, on every path, as long as they have these names."""
    queue, seen = [op], {(id(op.node), op.frame)}
    for _ in range(MAX_STEPS):
        if not queue:
            return
        for prior in predecessors(tree, queue.pop(0)):
            key = (id(prior.node), prior.frame)
            if key not in seen:
                seen.add(key)
                yield prior
                if prior.name in through:
                    queue.append(prior)


def _before_element(tree: Tree, element: cst.BaseExpression, frame: Frame | None) -> list[Operation]:
    prior = previous(tree, element)
    if prior is not None:
        return [op for one in prior for op in _of_element(tree, one, frame)]
    return _argument_operations(tree, frame) if frame is not None else []


def _of_element(tree: Tree, element: cst.BaseExpression, frame: Frame | None) -> list[Operation]:
    """Returns the operations that compute the output of an element of a sequence."""
    found: list[Operation] = []
    for layer in layers(tree, element):
        if layer.name == "torch.nn.Sequential":
            for last in last_elements(tree, layer.call):
                found += _of_element(tree, last, _entered(Frame(element, frame)))
        else:
            found.append(Operation(operation_name(layer.name), element, layer.call, None, frame))
    owner = module_class(tree, element) if not found else None
    return found or _outputs(tree, owner, _entered(Frame(element, frame)))


def _entered(frame: Frame) -> Frame | None:
    return frame if frame.depth() <= MAX_FRAMES else None


def _outputs(tree: Tree, owner: cst.ClassDef | None, frame: Frame | None) -> list[Operation]:
    """Returns the operations that compute what `forward` of a class of the file returns."""
    forward = method_named(tree, owner, "forward") if owner is not None else None
    if forward is None or frame is None:
        return []
    return [op for value in returned(tree, forward) for op in producers(tree, value, frame)]


def producers(tree: Tree, node: cst.BaseExpression | None, frame: Frame | None = None) -> list[Operation]:
    """Returns the operations that may compute an expression."""
    active = tree.memory.setdefault(("producers", 0), set())
    key = (id(node), frame)
    if node is None or key in active or len(active) > MAX_STEPS:  # a value of a loop depends on itself
        return []
    active.add(key)
    found = _producers(tree, node, frame)
    active.remove(key)
    return found


def _producers(tree: Tree, node: cst.BaseExpression, frame: Frame | None) -> list[Operation]:
    if isinstance(node, cst.Name):
        return _of_name(tree, node, frame)
    if isinstance(node, cst.IfExp):
        chosen = decide(tree, node.test)
        branches = {True: [node.body], False: [node.orelse], None: [node.body, node.orelse]}[chosen]
        return [op for branch in branches for op in producers(tree, branch, frame)]
    if isinstance(node, cst.NamedExpr):
        return producers(tree, node.value, frame)
    return _of_call(tree, node, frame) if isinstance(node, cst.Call) else []


def _of_call(tree: Tree, node: cst.Call, frame: Frame | None) -> list[Operation]:
    entered = _entered(Frame(node, frame))
    target = called(tree, node)
    if isinstance(target, cst.FunctionDef) and called_name(node) != "partial":
        values = [value for value in returned(tree, target) if _may_run(tree, value, target)]
        return [op for value in values for op in producers(tree, value, entered)] if entered is not None else []
    found: list[Operation] = []
    for op in operations(tree, node, frame):
        if op.name == "sequential":
            for last in last_elements(tree, op.options) if entered is not None else ():
                found += _of_element(tree, last, entered)
        else:
            found.append(op)
    return found or _outputs(tree, module_class(tree, node.func), entered)


def _may_run(tree: Tree, value: cst.BaseExpression, function: cst.FunctionDef) -> bool:
    """Returns whether no test that the file decides skips a `return`."""
    around, child = tree.parent(value), value
    while around is not None and around is not function:
        if isinstance(around, cst.If) and child is not around.test:
            wanted = child is around.body
            if decide(tree, around.test) == (not wanted):
                return False
        child, around = around, tree.parent(around)  # pyright: ignore[reportAssignmentType]
    return True


def _of_name(tree: Tree, node: cst.Name, frame: Frame | None) -> list[Operation]:
    """Returns the operations that may compute the value of a local name, or the argument of the entered call."""

    def match(statement: cst.BaseSmallStatement) -> list[cst.BaseExpression] | None:
        for target, value in targets(statement):
            if isinstance(target, cst.Name) and target.value == node.value:
                return [value] if isinstance(value, cst.BaseExpression) else []
        return None

    reached = backward(tree, node, match)
    found = [op for value in reached.results for op in producers(tree, value, frame)]
    is_parameter = any(isinstance(bound, cst.Param) for bound in tree.bound(node))
    if reached.start and is_parameter and frame is not None:
        found += _argument_operations(tree, frame, node)
    return found


def _argument_operations(tree: Tree, frame: Frame, name: cst.Name | None = None) -> list[Operation]:
    """Returns the operations that compute an argument of the entered call."""
    if in_sequence(tree, frame.node) or not isinstance(frame.node, cst.Call):
        return _before_element(tree, frame.node, frame.outer)
    position = 0 if name is None else _position(tree, name)
    value = None if position is None else argument(frame.node, "input" if name is None else name.value, position)
    return producers(tree, value, frame.outer)


def _position(tree: Tree, name: cst.Name) -> int | None:
    """Returns the position of a parameter in a call of its function."""
    function = tree.above(name, cst.FunctionDef)
    names = [param.name.value for param in function.params.params] if function is not None else []
    if name.value not in names:
        return None
    return names.index(name.value) - (names[0] == "self")
