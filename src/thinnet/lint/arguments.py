"""Reads the arguments of a call."""

import libcst as cst


def has_no_unpacking(call: cst.Call) -> bool:
    """Returns whether a call has neither `*args` nor `**kwargs`."""
    return not any(arg.star for arg in call.args)


def keyword(call: cst.Call, name: str) -> cst.Arg | None:
    """Returns the keyword argument of a name."""
    return next((arg for arg in call.args if arg.keyword is not None and arg.keyword.value == name), None)


def argument(call: cst.Call, name: str, position: int) -> cst.BaseExpression | None:
    """Returns the value of an argument that is passed by name or by position."""
    named = keyword(call, name)
    if named is not None:
        return named.value
    positional = [arg for arg in call.args if arg.keyword is None]
    return positional[position].value if 0 <= position < len(positional) and not positional[position].star else None


def is_true(node: cst.BaseExpression | None) -> bool:
    """Returns whether an expression is the literal `True`."""
    return isinstance(node, cst.Name) and node.value == "True"


def is_false(node: cst.BaseExpression | None) -> bool:
    """Returns whether an expression is the literal `False`."""
    return isinstance(node, cst.Name) and node.value == "False"
