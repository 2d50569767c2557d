"""The bindings of each name in each scope of a file."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

ScopeNode = (cst.Module, cst.ClassDef, cst.FunctionDef, cst.Lambda)
STATEMENTS = (
    cst.Assign,
    cst.AnnAssign,
    cst.AugAssign,
    cst.NamedExpr,
    cst.For,
    cst.CompFor,
    cst.WithItem,
    cst.ExceptHandler,
)


@dataclass(frozen=True)
class Part:
    """A part of a value that a statement takes apart.

    Args:
        source: the value.
        path: the index of the part, from the outside to the inside.
        is_item: the value is iterated over, and the path leads into one of its items.
    """

    source: cst.BaseExpression
    path: tuple[int, ...]
    is_item: bool = False


Value = cst.BaseExpression | Part | None
# The full name of an import, the value of an assignment, a parameter or a definition; None for everything else.
Binding = str | cst.Param | cst.ClassDef | cst.FunctionDef | Value
Kinds = dict[type[cst.CSTNode], list[cst.CSTNode]]


class Scopes:
    """The bindings of a file.

    Args:
        scopes: the scope of each node, by the node's identity.
        kinds: the nodes of each kind.
        assumed: full names of names that count as imported if nothing binds them.
    """

    def __init__(self, scopes: dict[int, cst.CSTNode], kinds: Kinds, assumed: dict[str, str]) -> None:
        self._scopes = scopes
        self._names: dict[int, dict[str, list[Binding]]] = defaultdict(lambda: defaultdict(list))
        self._assumed = assumed
        for kind, bind in BINDERS.items():
            for node in kinds.get(kind, ()):
                names = self._names[id(self.around(node))]
                for name, binding in bind(node):
                    names[name].append(binding)
        for node in [*kinds.get(cst.Global, ()), *kinds.get(cst.Nonlocal, ())]:
            for item in node.names:  # pyright: ignore[reportAttributeAccessIssue]
                for names in self._names.values():
                    names[item.name.value].append(None)

    def around(self, node: cst.CSTNode) -> cst.CSTNode:
        """Returns the module, class or function that contains a node."""
        return self._scopes[id(node)]

    def names(self, scope: cst.CSTNode) -> dict[str, list[Binding]]:
        """Returns the names that a module, class or function binds itself."""
        return self._names[id(scope)]

    def bound(self, node: cst.Name) -> list[Binding]:
        """Returns everything that a name may be bound to where it stands."""
        scope, within_class = self.around(node), True
        while True:
            found = self._names[id(scope)].get(node.value)
            if found and (within_class or not isinstance(scope, cst.ClassDef)):
                return found
            if isinstance(scope, cst.Module):
                return [self._assumed[node.value]] if node.value in self._assumed else []
            scope, within_class = self.around(scope), False


def targets(node: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, Value]]:
    """Yields each name or attribute that a statement binds, with its value; None if that is not known."""
    if isinstance(node, cst.Assign):
        for target in node.targets:
            yield from _matched(target.target, node.value)
    elif isinstance(node, cst.AnnAssign):
        if node.value is not None:
            yield node.target, node.value
    elif isinstance(node, cst.NamedExpr):
        yield node.target, node.value
    elif isinstance(node, (cst.For, cst.CompFor)):
        yield from ((part, Part(node.iter, path, True)) for part, path in _parts(node.target))
    elif isinstance(node, cst.AugAssign):
        yield node.target, None
    elif isinstance(node, cst.WithItem) and node.asname is not None:
        yield from ((part, None) for part, _ in _parts(node.asname.name))
    elif isinstance(node, cst.ExceptHandler) and node.name is not None:
        yield node.name.name, None


def _matched(target: cst.BaseExpression, value: cst.BaseExpression) -> Iterator[tuple[cst.CSTNode, Value]]:
    """Yields each target with its value: `a, b = x, y` binds `a` to `x`."""
    if not isinstance(target, (cst.Tuple, cst.List)):
        yield target, value
        return
    elements = value.elements if isinstance(value, (cst.Tuple, cst.List)) else ()
    starred = any(isinstance(part, cst.StarredElement) for part in (*target.elements, *elements))
    if len(elements) == len(target.elements) and not starred:
        for one, other in zip(target.elements, elements, strict=True):
            yield from _matched(one.value, other.value)
    else:
        yield from ((part, Part(value, path)) for part, path in _parts(target))


def _parts(target: cst.CSTNode, path: tuple[int, ...] = ()) -> Iterator[tuple[cst.CSTNode, tuple[int, ...]]]:
    if isinstance(target, (cst.Tuple, cst.List)):
        for index, element in enumerate(target.elements):
            yield from _parts(element.value, (*path, index))
    else:
        yield target, path


def dotted(node: cst.CSTNode | None) -> str:
    """Returns a dotted name as it is written. Other expressions are empty parts."""
    if isinstance(node, cst.Attribute):
        return f"{dotted(node.value)}.{node.attr.value}"
    return node.value if isinstance(node, cst.Name) else ""


def _bound(node: cst.CSTNode) -> Iterator[tuple[str, Binding]]:
    for target, value in targets(node):
        if isinstance(target, cst.Name):
            yield target.value, value


def _import(node: cst.Import) -> Iterator[tuple[str, Binding]]:
    for alias in node.names:
        name = dotted(alias.name)
        if alias.asname is not None:
            yield dotted(alias.asname.name), name
        else:
            yield name.partition(".")[0], name.partition(".")[0]


def _import_from(node: cst.ImportFrom) -> Iterator[tuple[str, Binding]]:
    home = "." * len(node.relative) + dotted(node.module)
    for alias in node.names if not isinstance(node.names, cst.ImportStar) else ():
        name = dotted(alias.name)
        yield (dotted(alias.asname.name) if alias.asname else name), f"{home}.{name}"


def _definition(node: cst.ClassDef | cst.FunctionDef) -> Iterator[tuple[str, Binding]]:
    yield node.name.value, node


def _parameter(node: cst.Param) -> Iterator[tuple[str, Binding]]:
    yield node.name.value, node


def _capture(node: cst.MatchAs | cst.MatchStar) -> Iterator[tuple[str, Binding]]:
    if node.name is not None:
        yield node.name.value, None


BINDERS = {
    cst.Import: _import,
    cst.ImportFrom: _import_from,
    cst.ClassDef: _definition,
    cst.FunctionDef: _definition,
    cst.Param: _parameter,
    cst.MatchAs: _capture,
    cst.MatchStar: _capture,
} | dict.fromkeys(STATEMENTS, _bound)
