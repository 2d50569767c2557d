"""A parsed file: the parent of every node, and what names stand for."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from typing import Any, TypeGuard, TypeVar

import libcst as cst

from thinnet.lint.names import MODULE_BASES, MODULE_NAMES, canonical
from thinnet.lint.scopes import Binding, Part, ScopeNode, Scopes, Value, dotted, targets

Node = TypeVar("Node", bound=cst.CSTNode)

# These fields hold no names and no expressions. Most of a concrete syntax tree is white space and punctuation.
TRIVIA = frozenset(
    "leading_lines lines_after_decorators header footer lpar rpar comma semicolon lbracket rbracket lbrace rbrace operator "
    "equal colon body_header trailing_whitespace".split()
)
MAX_DEPTH = 8  # longer chains of names are cycles


class Tree:
    """The syntax tree of one file. Methods return None for what is not certain.

    Args:
        module: the parsed file.
        assumed: full names of names that count as imported if the file does not bind them.
        text: the source code, if it is at hand.
    """

    def __init__(self, module: cst.Module, assumed: dict[str, str] | None = None, text: str = "") -> None:
        self.module = module
        self.text = text or module.code
        self.kinds: dict[type[cst.CSTNode], list[cst.CSTNode]] = defaultdict(list)
        # Keys are identities, because hashing a node is a call of a Python function. The tree keeps its nodes alive.
        self._parents: dict[int, cst.CSTNode] = {}
        self.memory: dict[tuple[str, int], Any] = {}  # results of questions that rules ask again, by question and node
        scopes = self._walk()
        self._scopes = Scopes(scopes, self.kinds, assumed or {})
        self._names: dict[int, str | None] = {}
        self._attributes: dict[int, dict[str, list[Value]]] | None = None

    def _walk(self) -> dict[int, cst.CSTNode]:
        """Records the parent and the kind of every node, in the order of the source, and returns the scope of every node."""
        scopes: dict[int, cst.CSTNode] = {}
        stack: list[tuple[cst.CSTNode, cst.CSTNode]] = [(self.module, self.module)]
        while stack:
            node, scope = stack.pop()
            kind = type(node)
            self.kinds[kind].append(node)
            scopes[id(node)] = scope
            if kind in ScopeNode:
                scope = node
            for child in reversed(children(node)):
                self._parents[id(child)] = node
                stack.append((child, scope))
        return scopes

    def parent(self, node: cst.CSTNode | None) -> cst.CSTNode | None:
        """Returns the parent of a node."""
        return self._parents.get(id(node))

    def under(self, node: cst.CSTNode, kind: type[Node]) -> Iterator[Node]:
        """Yields the nodes of a kind below a node, in the order of the source."""
        stack = [node]
        while stack:
            node = stack.pop()
            if isinstance(node, kind):
                yield node
            stack += reversed(children(node))

    def above(self, node: cst.CSTNode, *kinds: type[Node]) -> Node | None:
        """Returns the nearest node of one of the kinds around a node."""
        parent = self.parent(node)
        while parent is not None and type(parent) not in kinds:
            parent = self.parent(parent)
        return parent  # pyright: ignore[reportReturnType]

    def code(self, node: cst.CSTNode) -> str:
        """Returns the source code of a node, without parentheses around it."""
        if isinstance(node, cst.Name):
            return node.value
        key = ("code", id(node))
        if key not in self.memory:
            if isinstance(node, cst.Attribute) and isinstance(node.value, (cst.Name, cst.Attribute)):
                self.memory[key] = f"{self.code(node.value)}.{node.attr.value}"
            else:
                self.memory[key] = self._code(node)
        return self.memory[key]

    def _code(self, node: cst.CSTNode) -> str:
        bare = node.with_changes(lpar=(), rpar=()) if isinstance(node, cst.BaseExpression) else node
        return self.module.code_for_node(bare)

    def name(self, node: cst.CSTNode | None) -> str | None:
        """Returns the full name of what an expression stands for, such as `torch.nn.functional.dropout`."""
        if id(node) not in self._names:
            self._names[id(node)] = self._name(node, 0)
        return self._names[id(node)]

    def _name(self, node: cst.CSTNode | None, depth: int) -> str | None:
        if isinstance(node, cst.Attribute):
            base = self._name(node.value, depth)
            return None if base is None else canonical(f"{base}.{node.attr.value}")
        if not isinstance(node, cst.Name) or depth > MAX_DEPTH:
            return None
        names = set()
        for bound in self._scopes.bound(node):
            if isinstance(bound, str):
                names.add(canonical(bound))
            elif not (isinstance(bound, cst.Name) and bound.value == "None"):
                names.add(self._name(bound, depth + 1) if isinstance(bound, (cst.Name, cst.Attribute)) else None)
        return names.pop() if len(names) == 1 else None

    def value(self, node: cst.BaseExpression, depth: int = 0) -> cst.BaseExpression:
        """Returns the value of a name or a `self.x` that is assigned once, or the expression itself."""
        bound: list = []
        if isinstance(node, cst.Name):
            bound = self._scopes.bound(node)
        elif is_self(node):
            owner = self.owner(node)
            bound = self.attribute(owner, node.attr.value) if owner else []
        if len(bound) != 1 or not isinstance(bound[0], cst.BaseExpression) or depth > MAX_DEPTH:
            return node
        return self.value(bound[0], depth + 1)

    def bound(self, node: cst.Name) -> list[Binding]:
        """Returns everything that a name may be bound to where it stands."""
        return self._scopes.bound(node)

    def names_of(self, scope: cst.CSTNode) -> dict[str, list[Binding]]:
        """Returns the names that a module, class or function binds itself."""
        return self._scopes.names(scope)

    def scope(self, node: cst.CSTNode) -> cst.CSTNode:
        """Returns the module, class or function that contains a node."""
        return self._scopes.around(node)

    def definition(self, node: cst.CSTNode) -> cst.ClassDef | cst.FunctionDef | None:
        """Returns the class or function of this file that has a name."""
        bound = self._scopes.bound(node) if isinstance(node, cst.Name) else []
        return bound[0] if len(bound) == 1 and isinstance(bound[0], (cst.ClassDef, cst.FunctionDef)) else None

    def method(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        """Returns the method that contains a node."""
        found: cst.CSTNode | None = node
        while (found := self.above(found, cst.FunctionDef)) is not None:
            if isinstance(self._scopes.around(found), cst.ClassDef):
                return found
        return None

    def owner(self, node: cst.CSTNode) -> cst.ClassDef | None:
        """Returns the class whose method contains a node."""
        method = self.method(node)
        return None if method is None else self.above(method, cst.ClassDef)

    def is_module(self, owner: cst.ClassDef, depth: int = 0) -> bool:
        """Returns whether a class is an `nn.Module`: by its bases, or by their names if it has `forward(self, ...)`."""
        key = ("is module", id(owner))
        if key not in self.memory:
            self.memory[key] = self._is_module(owner, depth)
        return self.memory[key]

    def _is_module(self, owner: cst.ClassDef, depth: int) -> bool:
        forward = next((method for method in methods(owner) if method.name.value == "forward"), None)
        works = forward is not None and first_parameter(forward) == "self"
        for base in owner.bases:
            known = self.definition(base.value)
            if isinstance(known, cst.ClassDef) and depth < MAX_DEPTH:
                if self.is_module(known, depth + 1):
                    return True
            elif MODULE_BASES.fullmatch(self.name(base.value) or ""):
                return True
            elif works and (MODULE_NAMES.fullmatch(dotted(base.value).rpartition(".")[2]) or self._holds_layers(owner)):
                return True
        return False

    def _holds_layers(self, owner: cst.ClassDef) -> bool:
        """Returns whether a class assigns layers of `torch.nn` to attributes of `self`."""
        values = [value for name in self.attribute_names(owner) for value in self.attribute(owner, name)]
        made = [self.name(value.func) or "" for value in values if isinstance(value, cst.Call)]
        return any(re.match(r"torch\.nn\.[A-Z](?!\w*Loss$)", name) for name in made)

    def module_method(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        """Returns the method of an `nn.Module` that contains a node and has `self`, and so `self.training`."""
        method = self.method(node)
        owner = self.owner(node)
        sure = method is not None and owner is not None and first_parameter(method) == "self" and self.is_module(owner)
        return method if sure else None

    def is_in_forward(self, node: cst.CSTNode) -> bool:
        """Returns whether a node stands in the `forward` of an `nn.Module`."""
        method = self.module_method(node)
        return method is not None and method.name.value == "forward"

    def attribute(self, owner: cst.ClassDef, name: str, depth: int = 0) -> list[Value]:
        """Returns every value that a class, or its bases in this file, assigns to `self.name`; None is unknown."""
        if self._attributes is None:
            self._attributes = self._assigned()
        found = self._attributes[id(owner)].get(name, [])
        if not found:
            in_body = self._scopes.names(owner).get(name, [])
            found = [value for value in in_body if value is None or isinstance(value, (cst.BaseExpression, Part))]
        for base in owner.bases if not found and depth < MAX_DEPTH else ():
            known = self.definition(base.value)
            found = found or (self.attribute(known, name, depth + 1) if isinstance(known, cst.ClassDef) else [])
        return found

    def attribute_names(self, owner: cst.ClassDef) -> set[str]:
        """Returns the names of the attributes that a class assigns in its body or to `self`."""
        if self._attributes is None:
            self._attributes = self._assigned()
        return {*self._attributes[id(owner)], *self._scopes.names(owner)}

    def _assigned(self) -> dict[int, dict[str, list[Value]]]:
        """Returns what each class assigns to attributes of `self`."""
        found: dict[int, dict[str, list[Value]]] = defaultdict(lambda: defaultdict(list))
        for kind in (cst.Assign, cst.AnnAssign, cst.AugAssign):
            for node in self.kinds.get(kind, ()):
                for target, value in targets(node):
                    owner = self.owner(node) if is_self(target) else None
                    if owner is not None and is_self(target):
                        found[id(owner)][target.attr.value].append(value)
        return found


def children(node: cst.CSTNode) -> list[cst.CSTNode]:
    """Returns the children of a node, without white space and punctuation."""
    found = []
    for name in _field_names(type(node)):
        value = getattr(node, name)
        for part in value if type(value) in (tuple, list) else (value,):
            if _is_node(type(part)):
                found.append(part)
    return found


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    names = (field.name for field in fields(kind))
    return tuple(name for name in names if name not in TRIVIA and not name.startswith("whitespace"))


@cache
def _is_node(kind: type) -> bool:  # `isinstance` would call a Python function of the abstract base class each time
    return issubclass(kind, cst.CSTNode)


def methods(owner: cst.ClassDef) -> Iterator[cst.FunctionDef]:
    """Yields the methods of a class."""
    for statement in owner.body.body:
        if isinstance(statement, cst.FunctionDef):
            yield statement


def first_parameter(function: cst.FunctionDef) -> str | None:
    """Returns the name of the first parameter."""
    params = [*function.params.posonly_params, *function.params.params]
    return params[0].name.value if params else None


def is_self(node: cst.CSTNode) -> TypeGuard[cst.Attribute]:
    """Returns whether a node is `self.x`."""
    return isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name) and node.value.value == "self"
