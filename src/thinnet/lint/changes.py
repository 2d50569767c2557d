"""Small changes to a text, named by the nodes that they lie between; all that is not named stays as it is."""

from dataclasses import dataclass

import libcst as cst

from thinnet.lint.calls import keyword


@dataclass(frozen=True)
class Point:
    """The start or the end of a node."""

    node: cst.CSTNode
    end: bool = False


@dataclass(frozen=True)
class Change:
    """Text to put between two points."""

    start: Point
    stop: Point
    text: str


def replace(node: cst.CSTNode, text: str) -> Change:
    """Puts a text in the place of a node."""
    return Change(Point(node), Point(node, end=True), text)


def insert_before(node: cst.CSTNode, text: str) -> Change:
    """Puts a text in front of a node."""
    return Change(Point(node), Point(node), text)


def insert_after(node: cst.CSTNode, text: str) -> Change:
    """Puts a text behind a node."""
    return Change(Point(node, end=True), Point(node, end=True), text)


def set_keyword(call: cst.Call, name: str, value: str) -> Change:
    """Gives an argument another value, or adds it behind the others, of which there has to be one."""
    arg = keyword(call, name)
    return insert_after(call.args[-1], f", {name}={value}") if arg is None else replace(arg.value, value)


def drop_keyword(call: cst.Call, name: str) -> Change:
    """Takes a named argument and its comma away."""
    index = next(i for i, arg in enumerate(call.args) if arg.keyword is not None and arg.keyword.value == name)
    if index > 0:
        return Change(Point(call.args[index - 1], end=True), Point(call.args[index], end=True), "")
    stop = Point(call.args[1]) if len(call.args) > 1 else Point(call.args[0], end=True)
    return Change(Point(call.args[0]), stop, "")
