"""What the code around a call says about training and eval mode."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

import libcst as cst

from thinnet.lint.tree import Tree, is_self

NO_GRADIENTS = frozenset({"torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.autograd.inference_mode"})


def speaks_of_training(tree: Tree, node: cst.CSTNode) -> bool:
    """Says whether an expression, or what its names stand for, mentions training."""
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


def is_guarded(tree: Tree, node: cst.CSTNode) -> bool:
    """Says whether a node stands under a condition on training."""
    around = tree.parent(node)
    while around is not None and not isinstance(around, cst.FunctionDef):
        if isinstance(around, (cst.If, cst.IfExp)) and speaks_of_training(tree, around.test):
            return True
        if isinstance(around, cst.IndentedBlock) and any(_leaves(tree, before) for before in _until(around.body, node)):
            return True
        node, around = around, tree.parent(around)
    return False


def _until(statements: Sequence[cst.CSTNode], last: cst.CSTNode) -> Iterator[cst.CSTNode]:
    return takewhile(lambda statement: statement is not last, statements)


def _leaves(tree: Tree, statement: cst.CSTNode) -> bool:
    """Says whether a statement leaves the block in one of the modes: `if not self.training: return x`."""
    if not isinstance(statement, cst.If) or not speaks_of_training(tree, statement.test):
        return False
    last = statement.body.body[-1]
    ends = last.body[-1] if isinstance(last, cst.SimpleStatementLine) else last
    return isinstance(ends, (cst.Return, cst.Raise, cst.Continue))


def expects_error(tree: Tree, node: cst.CSTNode) -> bool:
    """Says whether a node stands where an exception is awaited: a test of bad input."""
    around = tree.above(node, cst.With, cst.Call)
    while around is not None:
        heads = [item.item for item in around.items] if isinstance(around, cst.With) else [around.func]
        if any("aises" in name.value for head in heads for name in tree.under(head, cst.Name)):
            return True
        around = tree.above(around, cst.With, cst.Call)
    return False


def is_without_gradients(tree: Tree, node: cst.CSTNode) -> bool:
    """Says whether a node stands under `torch.no_grad()` or `torch.inference_mode()`."""
    around = tree.above(node, cst.With, cst.FunctionDef)
    while around is not None:
        heads = around.items if isinstance(around, cst.With) else around.decorators
        for head in heads:
            call = head.item if isinstance(head, cst.WithItem) else head.decorator
            if tree.name(call.func if isinstance(call, cst.Call) else call) in NO_GRADIENTS:
                return True
        around = tree.above(around, cst.With, cst.FunctionDef)
    return False


def calls_of(tree: Tree, node: cst.CSTNode, method: str) -> list[cst.Call]:
    """Returns the calls `x.method(...)` below a node."""
    return [
        call for call in tree.under(node, cst.Call) if isinstance(call.func, cst.Attribute) and call.func.attr.value == method
    ]


def receiver(call: cst.Call) -> cst.BaseExpression:
    """Returns the `x` of a call `x.method(...)`."""
    assert isinstance(call.func, cst.Attribute)
    return call.func.value


def is_loop_variable(tree: Tree, node: cst.BaseExpression) -> bool:
    """Says whether an expression is a name that a loop around it gives its values."""
    loop = tree.above(node, cst.For)
    while loop is not None and isinstance(node, cst.Name):
        if any(name.value == node.value for name in tree.under(loop.target, cst.Name)):
            return True
        loop = tree.above(loop, cst.For)
    return False


def last_name(node: cst.CSTNode) -> str:
    """Returns the last name of a chain: `keep_prob` of `self.config.keep_prob`; the empty text for another expression."""
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""
