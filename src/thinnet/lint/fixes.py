"""Fixes: small edits of the source, given by syntax nodes. The text around them stays as it is."""

from dataclasses import dataclass

import libcst as cst

from thinnet.lint.arguments import keyword


@dataclass(frozen=True)
class Point:
    """The start or the end of a node."""

    node: cst.CSTNode
    end: bool = False


@dataclass(frozen=True)
class NodeEdit:
    """Text that replaces what stands between two points."""

    start: Point
    stop: Point
    text: str


@dataclass(frozen=True)
class Fix:
    """The fix of a finding.

    Args:
        edits: what to write.
        safe: training computes the same as before, or raised an error before. `--fix` applies safe fixes only.
    """

    edits: tuple[NodeEdit, ...]
    safe: bool


def replace(node: cst.CSTNode, text: str) -> NodeEdit:
    """Replaces a node by a text."""
    return NodeEdit(Point(node), Point(node, end=True), text)


def insert_before(node: cst.CSTNode, text: str) -> NodeEdit:
    """Inserts a text before a node."""
    return NodeEdit(Point(node), Point(node), text)


def insert_after(node: cst.CSTNode, text: str) -> NodeEdit:
    """Inserts a text after a node."""
    return NodeEdit(Point(node, end=True), Point(node, end=True), text)


def set_keyword(call: cst.Call, name: str, value: str) -> NodeEdit:
    """Sets a keyword argument, or adds it after the others. The call must have at least one argument."""
    arg = keyword(call, name)
    return insert_after(call.args[-1], f", {name}={value}") if arg is None else replace(arg.value, value)


def remove_keyword(call: cst.Call, name: str) -> NodeEdit:
    """Removes a keyword argument and its comma."""
    index = next(i for i, arg in enumerate(call.args) if arg.keyword is not None and arg.keyword.value == name)
    if index > 0:
        return NodeEdit(Point(call.args[index - 1], end=True), Point(call.args[index], end=True), "")
    stop = Point(call.args[1]) if len(call.args) > 1 else Point(call.args[0], end=True)
    return NodeEdit(Point(call.args[0]), stop, "")
