"""The arguments of a call: finding one, adding one, taking one away."""

import libcst as cst

from thinnet.lint.tree import Tree


def is_plain(call: cst.Call) -> bool:
    """Says whether all arguments are written out: no `*args` and no `**kwargs`."""
    return not any(arg.star for arg in call.args)


def keyword(call: cst.Call, name: str) -> cst.Arg | None:
    """Returns the argument given by a name."""
    return next((arg for arg in call.args if arg.keyword is not None and arg.keyword.value == name), None)


def argument(call: cst.Call, name: str, position: int) -> cst.BaseExpression | None:
    """Returns an argument's value, given by name or by position."""
    named = keyword(call, name)
    if named is not None:
        return named.value
    placed = [arg for arg in call.args if arg.keyword is None]
    return placed[position].value if position < len(placed) and not placed[position].star else None


def is_true(node: cst.BaseExpression | None) -> bool:
    """Says whether an expression is the word `True`."""
    return isinstance(node, cst.Name) and node.value == "True"


def is_false(node: cst.BaseExpression | None) -> bool:
    """Says whether an expression is the word `False`."""
    return isinstance(node, cst.Name) and node.value == "False"


def with_keyword(tree: Tree, call: cst.Call, name: str, value: str) -> str:
    """Returns a call's text with an argument set, or added at its end in the way its arguments are laid out."""
    expression = cst.parse_expression(value)
    args = list(call.args)
    for index, arg in enumerate(args):
        if arg.keyword is not None and arg.keyword.value == name:
            args[index] = arg.with_changes(value=expression)
            return tree.code(call.with_changes(args=args))
    bare = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    new = cst.Arg(expression, cst.Name(name), equal=bare)
    if args:
        last, comma = args[-1], cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        if len(args) > 1 and isinstance(args[-2].comma, cst.Comma):
            comma = args[-2].comma
        new = new.with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg)
        args[-1] = last.with_changes(comma=comma, whitespace_after_arg=cst.SimpleWhitespace(""))
    return tree.code(call.with_changes(args=[*args, new]))


def without(tree: Tree, call: cst.Call, name: str) -> str:
    """Returns a call's text without one of its named arguments."""
    args = [arg for arg in call.args if arg.keyword is None or arg.keyword.value != name]
    if args and call.args[-1] not in args:
        last = call.args[-1]
        args[-1] = args[-1].with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg)
    return tree.code(call.with_changes(args=args))
