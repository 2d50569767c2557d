"""What an expression says as it is written: texts, numbers and the names of calls."""

import re

import libcst as cst


def literal(node: cst.BaseExpression) -> str | int | None:
    """Returns the text or the integer that is written."""
    if not isinstance(node, (cst.SimpleString, cst.Integer)):
        return None
    value = node.evaluated_value
    return value.decode() if isinstance(value, bytes) else value


def called_name(node: cst.BaseExpression) -> str:
    """Returns the last name of what a call calls."""
    func = node.func if isinstance(node, cst.Call) else None
    if isinstance(func, cst.Attribute):
        return func.attr.value
    return func.value if isinstance(func, cst.Name) else ""


def prefix(node: cst.BaseExpression) -> str:
    """Returns the constant start of a text that is put together."""
    if isinstance(node, cst.FormattedString) and node.parts and isinstance(node.parts[0], cst.FormattedStringText):
        return node.parts[0].value
    if isinstance(node, cst.BinaryOperation):
        text = literal(node.left)
        return re.split(r"[%{]", text)[0] if isinstance(text, str) else ""
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value == "format":
        text = literal(node.func.value)
        return text.partition("{")[0] if isinstance(text, str) else ""
    return ""
