"""The arguments of a call."""

import libcst as cst


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
