"""The statements before a node, on every path through the code of its function."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import libcst as cst

from thinnet.lint.tree import Tree

Result = TypeVar("Result")
# Returns what a statement gives, or None if the search goes on before it.
Match = Callable[[cst.BaseSmallStatement], list[Result] | None]
ENDS = (cst.Return, cst.Raise, cst.Continue, cst.Break)


@dataclass
class Reached(Generic[Result]):
    """What a search backwards found.

    Args:
        results: what the nearest matching statement of each path gives.
        start: a path leads to the start of the function without a match.
        loops: the loops whose variables the paths pass.
    """

    results: list[Result] = field(default_factory=list)
    start: bool = False
    loops: list[cst.For] = field(default_factory=list)


def backward(tree: Tree, node: cst.CSTNode, match: Match[Result]) -> Reached[Result]:
    """Searches the statements before a node, up to the start of its function."""
    found: Reached[Result] = Reached()
    small = node if isinstance(node, cst.BaseSmallStatement) else _small(tree, node)
    line = tree.parent(small) if small is not None else None
    if isinstance(line, cst.SimpleStatementLine):
        before = line.body[: _index(line.body, small)]
        if not _scan_small(before, match, found):
            return found
    _search(tree, node if line is None else line, match, found)
    return found


def _small(tree: Tree, node: cst.CSTNode) -> cst.CSTNode | None:
    """Returns the small statement of a node, or None if the node stands in the head of a compound statement."""
    child: cst.CSTNode | None = node
    while child is not None and not isinstance(child, (cst.BaseCompoundStatement, cst.BaseSmallStatement)):
        child = tree.parent(child)
    return child if isinstance(child, cst.BaseSmallStatement) else None


def _index(body: Sequence[cst.CSTNode], node: cst.CSTNode | None) -> int:
    return next((index for index, one in enumerate(body) if one is node), len(body))


def _search(tree: Tree, node: cst.CSTNode, match: Match[Result], found: Reached[Result]) -> None:
    """Searches the blocks around a node, from the inside to the outside."""
    looped: set[int] = set()
    while True:
        block, child = tree.parent(node), node
        if block is None:
            break
        if isinstance(block, (cst.IndentedBlock, cst.Module)):
            if not _scan(block.body[: _index(block.body, child)], match, found):
                return
            if isinstance(block, cst.Module):
                break
        elif isinstance(block, (cst.FunctionDef, cst.Lambda, cst.ClassDef)):
            break
        elif isinstance(block, (cst.For, cst.While)) and child is block.body and id(block) not in looped:
            looped.add(id(block))
            if isinstance(block, cst.For):
                found.loops.append(block)
            _scan(_body(block.body), match, found)
        node = block
    found.start = True


def _body(suite: cst.BaseSuite) -> Sequence[cst.CSTNode]:
    """Returns the statements of a block, also of `if x: y = 1` on one line."""
    return suite.body


def _scan(statements: Sequence[cst.CSTNode], match: Match[Result], found: Reached[Result]) -> bool:
    """Searches statements from the last to the first. Returns whether a path has no match."""
    for statement in reversed(statements):
        if isinstance(statement, cst.SimpleStatementLine):
            if not _scan_small(statement.body, match, found):
                return False
        elif isinstance(statement, cst.BaseSmallStatement):
            if not _scan_small([statement], match, found):
                return False
        elif isinstance(statement, cst.If):
            if not _scan_branches(statement, match, found):
                return False
        elif isinstance(statement, (cst.With, cst.Try)):
            if not _scan(_body(statement.body), match, found):
                return False
        elif isinstance(statement, (cst.For, cst.While)):
            _scan(_body(statement.body), match, found)
    return True


def _scan_branches(statement: cst.If, match: Match[Result], found: Reached[Result]) -> bool:
    is_open = False
    for branch in branches(statement):
        if branch is None:
            is_open = True
        elif not leaves(branch):
            is_open = _scan(_body(branch), match, found) or is_open
    return is_open


def branches(statement: cst.If) -> Iterator[cst.BaseSuite | None]:
    """Yields the block of each branch of an `if`; None for a missing `else`."""
    yield statement.body
    if isinstance(statement.orelse, cst.If):
        yield from branches(statement.orelse)
    else:
        yield statement.orelse.body if statement.orelse is not None else None


def leaves(block: cst.BaseSuite) -> bool:
    """Returns whether a block ends with `return`, `raise`, `continue` or `break`."""
    last = block.body[-1] if block.body else None
    last = last.body[-1] if isinstance(last, cst.SimpleStatementLine) else last
    return isinstance(last, ENDS)


def _scan_small(statements: Sequence[cst.CSTNode], match: Match[Result], found: Reached[Result]) -> bool:
    for statement in reversed(statements):
        results = match(statement) if isinstance(statement, cst.BaseSmallStatement) else None
        if results is not None:
            found.results += results
            return False
    return True


def exits(function: cst.FunctionDef, match: Match[Result]) -> Reached[Result]:
    """Searches the statements of a function from its end."""
    found: Reached[Result] = Reached()
    found.start = _scan(function.body.body, match, found)
    return found
