"""The order of the layers in a `Sequential`, however it is built: from arguments, lists that grow, and helper functions."""

import libcst as cst

from thinnet.lint.calls import callers
from thinnet.lint.layers import layers, returned
from thinnet.lint.literals import called_name
from thinnet.lint.paths import backward
from thinnet.lint.tree import Tree, is_self

ADDERS = frozenset({"append", "add_module", "insert", "extend"})
MAX_DEPTH = 8


def is_sequential(tree: Tree, node: cst.CSTNode | None) -> bool:
    """Returns whether a node is a call of `nn.Sequential`."""
    return isinstance(node, cst.Call) and tree.name(node.func) == "torch.nn.Sequential"


def in_sequence(tree: Tree, node: cst.CSTNode) -> bool:
    """Returns whether an expression is written as an element of a sequence of layers."""
    key = ("container", id(node))
    if key not in tree.memory:
        tree.memory[key] = _container(tree, node)
    return tree.memory[key] is not None


def _container(tree: Tree, node: cst.CSTNode) -> cst.CSTNode | None:
    """Returns what an element is written in: a `Sequential`, a list that becomes one, or a call that adds to such a list."""
    holder = tree.parent(node)
    around = tree.parent(holder)
    if isinstance(around, cst.Call) and isinstance(holder, cst.Arg) and around.func is not node:
        if is_sequential(tree, around):
            return around
        is_method = isinstance(around.func, cst.Attribute) and called_name(around) in ADDERS
        grows = is_method and isinstance(around.func, cst.Attribute) and is_sequenced(tree, around.func.value)
        return around if grows and around.args[-1] is holder and not holder.star else None
    if isinstance(around, cst.Tuple) and len(around.elements) == 2 and around.elements[1] is holder:
        outer = _container(tree, around)
        return outer if isinstance(outer, (cst.List, cst.Tuple)) else None
    if isinstance(around, (cst.List, cst.Tuple)):
        return around if _becomes_sequence(tree, around) else None
    if isinstance(around, cst.ListComp) or (isinstance(holder, cst.ListComp) and holder.elt is node):
        return None
    return None


def _becomes_sequence(tree: Tree, node: cst.CSTNode, depth: int = 0) -> bool:
    """Returns whether a list becomes the layers of a `Sequential`."""
    holder = tree.parent(node)
    around = tree.parent(holder)
    if depth > MAX_DEPTH or around is None:
        return False
    if isinstance(holder, cst.Arg) and isinstance(around, cst.Call):
        if called_name(around) == "OrderedDict":
            return _becomes_sequence(tree, around, depth + 1) or is_sequential(tree, tree.parent(tree.parent(around)))
        if is_sequential(tree, around):
            return holder.star == "*"
        extends = called_name(around) == "extend" and isinstance(around.func, cst.Attribute)
        return extends and isinstance(around.func, cst.Attribute) and is_sequenced(tree, around.func.value)
    if isinstance(holder, cst.BinaryOperation) and isinstance(holder.operator, cst.Add):
        return _becomes_sequence(tree, holder, depth + 1)
    if isinstance(holder, cst.StarredElement):
        return _becomes_sequence(tree, around, depth + 1)
    if isinstance(holder, (cst.Assign, cst.AnnAssign)):
        target = holder.targets[0].target if isinstance(holder, cst.Assign) else holder.target
        return is_sequenced(tree, target)
    if isinstance(holder, cst.AugAssign):
        return is_sequenced(tree, holder.target)
    if isinstance(holder, cst.Return):
        function = tree.above(holder, cst.FunctionDef)
        return function is not None and _is_spread(tree, function)
    return False


def _is_spread(tree: Tree, function: cst.FunctionDef) -> bool:
    """Returns whether `*function(...)` gives the elements of a `Sequential`."""
    for call in callers(tree, function):
        holder = tree.parent(call)
        if isinstance(holder, cst.Arg) and holder.star == "*" and is_sequential(tree, tree.parent(holder)):
            return True
        if isinstance(holder, cst.AugAssign) and is_sequenced(tree, holder.target):
            return True
    return False


def is_sequenced(tree: Tree, node: cst.CSTNode) -> bool:
    """Returns whether a list, by its name, becomes the layers of a `Sequential`."""
    if not (isinstance(node, cst.Name) or is_self(node)):
        return False
    return (id(_place(tree, node)), tree.code(node)) in _sequenced(tree)


def _place(tree: Tree, node: cst.CSTNode) -> cst.CSTNode | None:
    return tree.owner(node) if is_self(node) else tree.scope(node)


def _sequenced(tree: Tree) -> set[tuple[int, str]]:
    key = ("sequenced", 0)
    if key not in tree.memory:
        tree.memory[key] = found = set()
        for call in tree.kinds[cst.Call]:
            if isinstance(call, cst.Call) and is_sequential(tree, call):
                found |= {(id(_place(tree, arg.value)), tree.code(arg.value)) for arg in call.args if arg.star == "*"}
                if not call.args:
                    found |= _targets(tree, call)
                if len(call.args) == 1 and isinstance(call.args[0].value, cst.Name):
                    found.add((id(_place(tree, call.args[0].value)), tree.code(call.args[0].value)))
        for function in tree.kinds[cst.FunctionDef]:
            if isinstance(function, cst.FunctionDef):
                names = returned(tree, function) if callers(tree, function) and _is_spread(tree, function) else []
                found |= {(id(tree.scope(name)), name.value) for name in names if isinstance(name, cst.Name)}
        found |= _looped(tree)
    return tree.memory[key]


def _targets(tree: Tree, call: cst.Call) -> set[tuple[int, str]]:
    statement = tree.parent(call)
    targets = [one.target for one in statement.targets] if isinstance(statement, cst.Assign) else []
    return {(id(_place(tree, target)), tree.code(target)) for target in targets}


def _looped(tree: Tree) -> set[tuple[int, str]]:
    """Returns the module lists that a loop applies one after the other: `for layer in self.layers: x = layer(x)`."""
    found = set()
    for loop in tree.kinds[cst.For]:
        if isinstance(loop, cst.For) and isinstance(loop.target, cst.Name) and is_self(loop.iter) and len(loop.body.body) == 1:
            line = loop.body.body[0]
            small = line.body[0] if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1 else None
            value = small.value if isinstance(small, cst.Assign) else None
            applies = isinstance(value, cst.Call) and isinstance(value.func, cst.Name) and value.func.value == loop.target.value
            if applies and isinstance(value, cst.Call) and value.args and isinstance(small, cst.Assign):
                if tree.code(small.targets[0].target) == tree.code(value.args[0].value):
                    found.add((id(tree.owner(loop)), tree.code(loop.iter)))
    return found


def last_elements(tree: Tree, node: cst.BaseExpression, depth: int = 0) -> list[cst.BaseExpression]:
    """Returns the elements that may be the last of a list or a `Sequential`."""
    if depth > MAX_DEPTH:
        return []
    if isinstance(node, cst.Call):
        if is_sequential(tree, node) or called_name(node) in ("OrderedDict", "ModuleList", "list"):
            return _last(tree, node.args[-1].value, bool(node.args[-1].star), depth) if node.args else []
        return []
    if isinstance(node, (cst.List, cst.Tuple)) and node.elements:
        last = node.elements[-1]
        return _last(tree, last.value, isinstance(last, cst.StarredElement), depth)
    if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Add):
        return last_elements(tree, node.right, depth + 1)
    if isinstance(node, cst.ListComp):
        return [node.elt]
    if isinstance(node, cst.Name) or is_self(node):
        return _before(tree, node, tree.code(node), depth)
    return []


def _last(tree: Tree, node: cst.BaseExpression, is_list: bool, depth: int) -> list[cst.BaseExpression]:
    if is_list or (isinstance(node, (cst.List, cst.Name)) and not layers(tree, node)):
        return last_elements(tree, node, depth + 1)
    if isinstance(node, cst.Tuple) and len(node.elements) == 2:
        return [node.elements[1].value]
    if isinstance(node, cst.Call) and called_name(node) == "OrderedDict":
        return last_elements(tree, node, depth + 1)
    return [node]


def _before(tree: Tree, node: cst.CSTNode, text: str, depth: int) -> list[cst.BaseExpression]:
    """Returns the last elements that the statements before a node give to the list of a name."""
    later = _in_other_items(tree, node)

    def match(statement: cst.BaseSmallStatement) -> list[cst.BaseExpression] | None:
        if id(statement) in later:
            return []
        if isinstance(statement, cst.Assign) and tree.code(statement.targets[0].target) == text:
            return last_elements(tree, statement.value, depth + 1)
        if isinstance(statement, cst.AugAssign) and tree.code(statement.target) == text:
            return last_elements(tree, statement.value, depth + 1)
        call = statement.value if isinstance(statement, cst.Expr) else None
        if isinstance(call, cst.Call) and isinstance(call.func, cst.Attribute) and called_name(call) in ADDERS and call.args:
            if tree.code(call.func.value) == text:
                added = call.args[-1].value
                return last_elements(tree, added, depth + 1) if called_name(call) == "extend" else [added]
        return None

    return backward(tree, node, match).results


def _in_other_items(tree: Tree, node: cst.CSTNode) -> set[int]:
    """Returns the statements after a node in a loop, if a test of the loop's item decides whether the node runs.

    They run for another item, and the file does not show which.
    """
    loop, branch = tree.above(node, cst.For, cst.FunctionDef), tree.above(node, cst.If, cst.For, cst.FunctionDef)
    if not isinstance(loop, cst.For):
        return set()
    names = {name.value for name in tree.under(loop.target, cst.Name)}
    while isinstance(branch, cst.If):
        if any(name.value in names for name in tree.under(branch.test, cst.Name)):
            here = tree.above(node, cst.SimpleStatementLine)
            lines = list(tree.under(loop, cst.SimpleStatementLine))
            later = lines[next((index for index, line in enumerate(lines) if line is here), 0) + 1 :]
            return {id(statement) for line in later for statement in line.body}
        branch = tree.above(branch, cst.If, cst.For, cst.FunctionDef)
    return set()


def previous(tree: Tree, node: cst.BaseExpression) -> list[cst.BaseExpression] | None:
    """Returns the elements that may come right before an element of a sequence; None if the element may be the first."""
    container = _container(tree, node)
    holder = tree.parent(node)
    if isinstance(container, cst.Call):
        if not is_sequential(tree, container) and isinstance(container.func, cst.Attribute):
            return _before(tree, container, tree.code(container.func.value), 0)
        return _previous_of(tree, list(container.args), holder)
    if isinstance(container, (cst.List, cst.Tuple)):
        if tree.parent(holder) is not container:  # a pair of a name and a layer
            holder = tree.parent(tree.parent(holder))
        found = _previous_of(tree, list(container.elements), holder)
        return _before_list(tree, container) if found is None else found
    return None


def _previous_of(tree: Tree, elements: list, holder: cst.CSTNode | None) -> list[cst.BaseExpression] | None:
    index = next((number for number, element in enumerate(elements) if element is holder), 0)
    if index == 0:
        return None
    before = elements[index - 1]
    is_list = isinstance(before, cst.StarredElement) or bool(getattr(before, "star", ""))
    return _last(tree, before.value, is_list, 0)


def _before_list(tree: Tree, node: cst.CSTNode) -> list[cst.BaseExpression] | None:
    """Returns the elements right before a list that is added to another one."""
    holder = tree.parent(node)
    around = tree.parent(holder)
    if isinstance(holder, cst.AugAssign):
        return _before(tree, holder, tree.code(holder.target), 0)
    if isinstance(around, cst.Call) and called_name(around) == "extend" and isinstance(around.func, cst.Attribute):
        return _before(tree, around, tree.code(around.func.value), 0)
    if isinstance(holder, cst.BinaryOperation) and holder.right is node:
        return last_elements(tree, holder.left)
    return None
