"""What the methods of a module do with its mode, read from their source."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, TypeGuard

MODE = "training"
DROPOUT = ("dropout", "dropout1d", "dropout2d", "dropout3d")  # on, unless they are told the mode
ATTENTION = "scaled_dot_product_attention"
OTHERS = ("torch.nn.", "thinnet.")  # modules of these packages hold their rate, or decide by a site

Chain = tuple[str, ...]  # the names of `self.drop.p` behind `self`, or one other name with "" before it
KNOWN = 1 << 12


@dataclass(frozen=True)
class Reading:
    """What a method names.

    Args:
        beside: the names in expressions and statements that depend on the mode of the module.
        always: whether it calls a dropout function that no mode turns off.
    """

    beside: frozenset[Chain] = frozenset()
    always: bool = False

    def __or__(self, other: "Reading") -> "Reading":
        return Reading(self.beside | other.beside, self.always or other.always)


@lru_cache(KNOWN)
def read_class(kind: type) -> Reading:
    """Returns what the methods of a class name, and the functions that these call."""
    found = Reading()
    for name in dir(kind):
        method = inspect.getattr_static(kind, name)
        method = getattr(method, "fget", None) or getattr(method, "__func__", method)
        method = inspect.unwrap(method) if isinstance(method, FunctionType) else None
        if isinstance(method, FunctionType) and not method.__module__.startswith(OTHERS):
            called = map(method.__globals__.get, method.__code__.co_names)
            found |= read_method(method)
            for function in called:
                if isinstance(function, FunctionType):
                    found |= Reading(read_method(function).beside)
    return found


@lru_cache(KNOWN)
def read_method(function: FunctionType) -> Reading:
    """Returns what one function names."""
    names = _names(function.__code__)
    if not names & {MODE, ATTENTION, *DROPOUT} or function.__module__.startswith(OTHERS):
        return Reading()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):  # code without a source: all that it names counts
        with_rate = [(), ("p",)] if "p" in names else [()]
        return Reading(frozenset((name, *rest) for name in names for rest in with_rate if MODE in names))
    source = _Source(tree)
    return Reading(frozenset(source.beside()), source.always())


def _names(code: CodeType) -> set[str]:
    inner = [_names(each) for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*inner)


class _Source:
    """The syntax tree of a function, and where it reads the mode of a module."""

    def __init__(self, tree: ast.AST) -> None:
        self.nodes = list(ast.walk(tree))
        self.parents = {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}
        reads = [node for node in self.nodes if isinstance(node, ast.Attribute) and node.attr == MODE]
        self.modules = {node.value.id for node in reads if isinstance(node.value, ast.Name)}
        copied = [target for node in reads for target in getattr(self.parents[node], "targets", ())]  # training = self.training
        names = {target.id for target in copied if _is_name(target)}
        self.reads = [*reads, *(node for node in self.nodes if _is_name(node) and node.id in names)]

    def beside(self) -> Iterator[Chain]:
        """Yields the names in what depends on the mode."""
        for read in self.reads:
            for region in self._regions(read):
                for node in ast.walk(region):
                    yield from self._named(node)

    def always(self) -> bool:
        """Returns whether a call of a dropout function is on in every mode."""
        return any(self._is_always_on(node) for node in self.nodes if isinstance(node, ast.Call))

    def _is_always_on(self, call: ast.Call) -> bool:
        root, *names = self._dotted(call.func)
        given: dict[str | None, ast.AST] = {each.arg: each.value for each in call.keywords}
        if root in ("", "self") or not names or None in given or any(each in self.reads for each in ast.walk(call)):
            return False
        if names[-1] == ATTENTION:
            p = given.get("dropout_p", ast.Constant(0.0))
            return bool(p.value) if isinstance(p, ast.Constant) else self._dotted(p)[0] == "self"
        training = given.get(MODE, call.args[2] if len(call.args) > 2 else ast.Constant(True))
        return names[-1] in DROPOUT and isinstance(training, ast.Constant) and bool(training.value)

    def _regions(self, read: ast.AST) -> Iterator[ast.AST]:
        """Yields the innermost call around the mode; else its statement, with what only runs after it."""
        node, call = read, None
        while not isinstance(node, ast.stmt):
            call = node if call is None and isinstance(node, ast.Call) else call
            node = self.parents[node]
        if call is not None:
            yield from (call, *getattr(node, "targets", ()))
            return
        yield node
        if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Return):
            blocks = [getattr(self.parents[node], name, ()) for name in ("body", "orelse", "finalbody")]
            for block in (block for block in blocks if node in block):
                yield from block[block.index(node) + 1 :]

    def _named(self, node: ast.AST) -> Iterator[Chain]:
        if isinstance(node, ast.Attribute) and not isinstance(self.parents[node], ast.Attribute):
            root, *names = self._dotted(node)
            yield tuple(names) if root in self.modules else ("", names[-1])
        elif _is_name(node):
            yield "", node.id
        elif isinstance(node, ast.keyword) and node.arg is not None:
            yield "", node.arg

    def _dotted(self, node: ast.AST) -> list[str]:
        """Returns the names of `self.drop.p`, with "" for an expression at the beginning."""
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        return [node.id if _is_name(node) else "", *names]


def _is_name(node: Any) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name)
