"""The bindings of each name in each scope of a file."""

from collections import defaultdict
from collections.abc import Iterator

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

# The full name of an import, the value of an assignment, or a definition; None for everything else.
Binding = str | cst.BaseExpression | cst.ClassDef | cst.FunctionDef | None
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


def targets(node: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, cst.BaseExpression | None]]:
    """Yields each name or attribute that a statement binds, with its value; None if the value is unpacked."""
    if isinstance(node, cst.Assign):
        for target in node.targets:
            whole = isinstance(target.target, (cst.Name, cst.Attribute))
            yield from [(target.target, node.value)] if whole else ((part, None) for part in _parts(target.target))
    elif isinstance(node, cst.AnnAssign):
        if node.value is not None:
            yield node.target, node.value
    elif isinstance(node, (cst.AugAssign, cst.NamedExpr, cst.For, cst.CompFor)):
        yield from ((part, None) for part in _parts(node.target))
    elif isinstance(node, cst.WithItem) and node.asname is not None:
        yield from ((part, None) for part in _parts(node.asname.name))
    elif isinstance(node, cst.ExceptHandler) and node.name is not None:
        yield node.name.name, None


def _parts(target: cst.CSTNode) -> Iterator[cst.CSTNode]:
    if isinstance(target, (cst.Tuple, cst.List)):
        for element in target.elements:
            yield from _parts(element.value)
    else:
        yield target


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
    yield node.name.value, None


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
