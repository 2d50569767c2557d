"""How the code around a call depends on training and eval mode."""

import re
from collections.abc import Iterator
from itertools import takewhile

import libcst as cst

from thinnet.lint.tree import Tree, is_self
from thinnet.lint.values import route

NO_GRADIENTS = frozenset({"torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.autograd.inference_mode"})


def mentions_training(tree: Tree, node: cst.CSTNode) -> bool:
    """Returns whether an expression, or the value of a name in it, has a name with `train` in it."""
    for part in tree.under(node, cst.BaseExpression):
        if isinstance(part, cst.Name) and _is_mode(part):
            return True
        around = tree.parent(part)
        named = isinstance(part, cst.Name) and not (isinstance(around, cst.Attribute) and around.attr is part)
        value = tree.value(part) if named or is_self(part) else part
        if value is not part and any(_is_mode(name) for name in tree.under(value, cst.Name)):
            return True
    return False


def _is_mode(name: cst.Name) -> bool:
    return "train" in name.value.lower()


def varies_with_mode(tree: Tree, node: cst.BaseExpression) -> bool:
    """Returns whether a value depends on the mode: by a name with `train`, or by a condition on an assignment."""
    return any(mentions_training(tree, part) or depends_on_mode(tree, part) for part in route(tree, node))


def depends_on_caller(tree: Tree, node: cst.BaseExpression) -> bool:
    """Returns whether the value is a parameter of a function around the node, so that callers may choose it by the mode."""
    functions: list[cst.CSTNode] = []
    around = tree.above(node, cst.FunctionDef, cst.Lambda)
    while around is not None:
        functions.append(around)
        # a lambda runs later than the function around it
        around = None if isinstance(around, cst.Lambda) else tree.above(around, cst.FunctionDef, cst.Lambda)
    names = [part for part in route(tree, node) if isinstance(part, cst.Name)]
    params = [bound for name in names for bound in tree.bound(name) if isinstance(bound, cst.Param)]
    return any(tree.above(param, cst.FunctionDef, cst.Lambda) in functions for param in params)


def is_zero_here(tree: Tree, node: cst.CSTNode, rate: cst.BaseExpression) -> bool:
    """Returns whether a condition around a node says that a rate is 0."""
    child, around = node, tree.parent(node)
    while around is not None and not isinstance(around, cst.FunctionDef):
        if isinstance(around, (cst.If, cst.IfExp)) and child is around.body:
            if any(_says_zero(tree, part, tree.code(rate)) for part in _conjuncts(tree, around.test)):
                return True
        child, around = around, tree.parent(around)
    return False


def _conjuncts(tree: Tree, test: cst.BaseExpression, depth: int = 0) -> Iterator[cst.BaseExpression]:
    """Yields the conditions that hold where a test holds, also through names."""
    if isinstance(test, cst.BooleanOperation) and isinstance(test.operator, cst.And):
        yield from _conjuncts(tree, test.left, depth)
        yield from _conjuncts(tree, test.right, depth)
        return
    value = tree.value(test)
    if value is not test and depth < 4:
        yield from _conjuncts(tree, value, depth + 1)
    yield test


def _says_zero(tree: Tree, test: cst.BaseExpression, rate: str) -> bool:
    if isinstance(test, cst.UnaryOperation) and isinstance(test.operator, cst.Not):
        return tree.code(test.expression) == rate
    if not isinstance(test, cst.Comparison) or len(test.comparisons) != 1 or tree.code(test.left) != rate:
        return False
    (part,) = test.comparisons
    return isinstance(part.operator, (cst.Equal, cst.LessThanEqual)) and tree.code(part.comparator) in ("0", "0.0", "0.")


def depends_on_mode(tree: Tree, node: cst.CSTNode) -> bool:
    """Returns whether a condition on training decides if a node runs."""
    around = tree.parent(node)
    while around is not None and not isinstance(around, cst.FunctionDef):
        if isinstance(around, (cst.If, cst.IfExp)) and mentions_training(tree, around.test):
            return True
        if isinstance(around, cst.IndentedBlock) and any(_leaves(tree, before) for before in _before(around, node)):
            return True
        node, around = around, tree.parent(around)
    return False


def _before(block: cst.IndentedBlock, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    return takewhile(lambda statement: statement is not node, block.body)


def _leaves(tree: Tree, statement: cst.CSTNode) -> bool:
    """Returns whether a statement ends the block in one mode: `if not self.training: return x`."""
    if not isinstance(statement, cst.If) or not mentions_training(tree, statement.test):
        return False
    last = statement.body.body[-1]
    ends = last.body[-1] if isinstance(last, cst.SimpleStatementLine) else last
    return isinstance(ends, (cst.Return, cst.Raise, cst.Continue))


def expects_error(tree: Tree, node: cst.CSTNode) -> bool:
    """Returns whether a node stands in a test that expects an exception."""
    around = tree.above(node, cst.With, cst.Call)
    while around is not None:
        heads = [item.item for item in around.items] if isinstance(around, cst.With) else [around.func]
        if any("aises" in name.value for head in heads for name in tree.under(head, cst.Name)):
            return True
        around = tree.above(around, cst.With, cst.Call)
    return False


def is_in_no_grad(tree: Tree, node: cst.CSTNode) -> bool:
    """Returns whether a node runs under `torch.no_grad()` or `torch.inference_mode()`."""
    around = tree.above(node, cst.With, cst.FunctionDef)
    while around is not None:
        heads = around.items if isinstance(around, cst.With) else around.decorators
        for head in heads:
            call = head.item if isinstance(head, cst.WithItem) else head.decorator
            if tree.name(call.func if isinstance(call, cst.Call) else call) in NO_GRADIENTS:
                return True
        around = tree.above(around, cst.With, cst.FunctionDef)
    return False


def method_calls(tree: Tree, node: cst.CSTNode, method: str) -> list[cst.Call]:
    """Returns the calls `x.method(...)` below a node."""
    return [
        call for call in tree.under(node, cst.Call) if isinstance(call.func, cst.Attribute) and call.func.attr.value == method
    ]


def is_before(tree: Tree, call: cst.CSTNode, other: cst.CSTNode) -> bool:
    """Returns whether a call comes before another one in the source."""
    return next((one for one in tree.kinds[cst.Call] if one is call or one is other), None) is call


def receiver(call: cst.Call) -> cst.BaseExpression:
    """Returns the object `x` of a call `x.method(...)`."""
    assert isinstance(call.func, cst.Attribute)
    return call.func.value


def is_loop_variable(tree: Tree, node: cst.BaseExpression) -> bool:
    """Returns whether an expression is the variable of a loop around it."""
    loop = tree.above(node, cst.For)
    while loop is not None and isinstance(node, cst.Name):
        if any(name.value == node.value for name in tree.under(loop.target, cst.Name)):
            return True
        loop = tree.above(loop, cst.For)
    return False


def name_of(node: cst.CSTNode) -> str:
    """Returns the last name of an expression, or the key of `config["keep_prob"]` and `config.get("keep_prob")`."""
    key: cst.BaseExpression | None = None
    if isinstance(node, cst.Subscript) and isinstance(node.slice[0].slice, cst.Index):
        key = node.slice[0].slice.value
    elif isinstance(node, cst.Call) and last_name(node.func) in ("get", "pop") and node.args:
        key = node.args[0].value
    if isinstance(key, cst.SimpleString):
        return str(key.evaluated_value)
    return last_name(node)


def last_name(node: cst.CSTNode) -> str:
    """Returns the last name of a dotted name, such as `keep_prob` of `self.config.keep_prob`; otherwise an empty string."""
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""


def has_no_norm(tree: Tree) -> bool:
    """Returns whether the file defines its models, and none of them has batch normalisation."""
    owners = [owner for owner in tree.kinds[cst.ClassDef] if isinstance(owner, cst.ClassDef)]
    defines = any(tree.is_module(owner) and tree.attribute_names(owner) for owner in owners)
    return defines and re.search("Norm|norm", tree.text) is None
