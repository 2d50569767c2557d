"""The values that an expression may have, as far as one file shows them.

An expression is followed through names, `self.x`, parameters, configurations and containers to the expressions that make
its value. Where the file does not show the whole, the expression itself is one of the results.
"""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import argument, keyword
from thinnet.lint.calls import arguments_of, bases_named, configured
from thinnet.lint.literals import called_name, literal, prefix
from thinnet.lint.scopes import Part
from thinnet.lint.tree import Tree, is_self

LIMIT = 24  # more values are not followed
MAX_DEPTH = 14
HOLDERS = frozenset("ModuleList ModuleDict Sequential OrderedDict list tuple dict".split())
ADDERS = frozenset({"append", "add_module", "register_module", "insert"})


def values(tree: Tree, node: cst.BaseExpression | None) -> list[cst.BaseExpression]:
    """Returns the expressions that an expression may stand for. An expression that is not followed stands for itself."""
    if node is None:
        return []
    key = ("values", id(node))
    if key not in tree.memory:
        tree.memory[key] = [node]  # what a value that depends on itself stands for
        found: list[cst.BaseExpression] = []
        for leaf, _ in _follow(tree, node):
            if not any(leaf is other for other in found):
                found.append(leaf)
        tree.memory[key] = found
    return tree.memory[key]


def route(tree: Tree, node: cst.BaseExpression) -> list[cst.BaseExpression]:
    """Returns the expressions that an expression may stand for, and those in between: names and attributes."""
    key = ("route", id(node))
    if key not in tree.memory:
        tree.memory[key] = [node]
        tree.memory[key] = [passed for passed, _ in _follow(tree, node, every=True)]
    return tree.memory[key]


def is_open(tree: Tree, node: cst.BaseExpression) -> bool:
    """Returns whether the file does not show every value of an expression."""
    return any(isinstance(leaf, (cst.Name, cst.Attribute, cst.Subscript, cst.Call)) for leaf in values(tree, node))


def _follow(tree: Tree, node: cst.BaseExpression, every: bool = False) -> Iterator[tuple[cst.BaseExpression, int]]:
    stack, seen, count = [(node, 0)], set(), 0
    while stack and count < 8 * LIMIT:
        current, depth = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        count += 1
        sources = sources_of(tree, current) if depth < MAX_DEPTH and len(seen) < 4 * LIMIT else None
        if every or sources is None or None in sources:
            yield current, depth
        stack += [(source, depth + 1) for source in reversed(sources or ()) if source is not None]


def sources_of(tree: Tree, node: cst.BaseExpression) -> list[cst.BaseExpression | None] | None:
    """Returns the expressions that give an expression its value, with None for what is not shown; None for a leaf."""
    if isinstance(node, cst.Name):
        return _of_name(tree, node)
    if isinstance(node, cst.Attribute):
        return _of_attribute(tree, node)
    if isinstance(node, cst.IfExp):
        chosen = decide(tree, node.test)
        branches = {True: [node.body], False: [node.orelse], None: [node.body, node.orelse]}
        return list(branches[chosen])
    if isinstance(node, cst.BooleanOperation):
        return [node.left, node.right] if isinstance(node.operator, cst.Or) else [node.right]
    if isinstance(node, cst.NamedExpr):
        return [node.value]
    if isinstance(node, cst.Subscript):
        return _of_subscript(tree, node)
    return _of_call(tree, node) if isinstance(node, cst.Call) else None


def _of_name(tree: Tree, node: cst.Name) -> list[cst.BaseExpression | None] | None:
    found: list[cst.BaseExpression | None] = []
    for bound in tree.bound(node):
        if isinstance(bound, cst.Param):
            given = [bound.default] if bound.default is not None else []
            found += [*given, *arguments_of(tree, bound), None]
        elif isinstance(bound, Part):
            found += _of_part(tree, bound)
        else:
            found.append(bound if isinstance(bound, cst.BaseExpression) else None)
    return found or None


def _of_attribute(tree: Tree, node: cst.Attribute) -> list[cst.BaseExpression | None] | None:
    name = node.attr.value
    if is_self(node):
        owner = tree.owner(node)
        bound = tree.attribute(owner, name) if owner is not None else []
        found: list[cst.BaseExpression | None] = []
        for value in bound:
            found += _of_part(tree, value) if isinstance(value, Part) else [value]
        return found or None
    return configured(tree, node) or None


def _of_part(tree: Tree, part: Part) -> list[cst.BaseExpression | None]:
    """Returns the expressions of a part of a tuple, or of an item that a loop takes."""
    found, path = _items_at(tree, part.source, part.path) if part.is_item else ([part.source], part.path)
    for index in path:
        found = [piece for value in found for piece in _element(tree, value, index)]
    return list(found) or [None]


def _items_at(
    tree: Tree, source: cst.BaseExpression, path: tuple[int, ...]
) -> tuple[list[cst.BaseExpression], tuple[int, ...]]:
    """Returns the items of a loop and the path that is left: `zip` and `enumerate` make pairs."""
    name = called_name(source)
    if isinstance(source, cst.Call) and path and name == "zip" and path[0] < len(source.args):
        return _items_at(tree, source.args[path[0]].value, path[1:])
    if isinstance(source, cst.Call) and path and name == "enumerate" and source.args:
        return _items_at(tree, source.args[0].value, path[1:]) if path[0] == 1 else ([], ())
    return items(tree, source), path


def _element(tree: Tree, value: cst.BaseExpression, index: int) -> list[cst.BaseExpression]:
    for leaf in values(tree, value):
        if isinstance(leaf, (cst.Tuple, cst.List)) and index < len(leaf.elements):
            return [leaf.elements[index].value]
    return []


def items(tree: Tree, node: cst.BaseExpression) -> list[cst.BaseExpression]:
    """Returns the items that iterating over an expression gives, as far as they are shown."""
    key = ("items", id(node))
    if key not in tree.memory:
        tree.memory[key] = []  # what a list that contains itself gives
        found: list[cst.BaseExpression] = []
        for leaf in values(tree, node):
            if isinstance(leaf, cst.Call) and called_name(leaf) in ("reversed", "list", "tuple", "sorted") and leaf.args:
                found += items(tree, leaf.args[0].value)
            else:
                found += elements(tree, leaf)
        tree.memory[key] = [*found, *grown(tree, node)][:LIMIT]
    return tree.memory[key]


def elements(tree: Tree, leaf: cst.BaseExpression) -> list[cst.BaseExpression]:
    """Returns the elements of a list, tuple, dictionary or module list that is written out."""
    if isinstance(leaf, (cst.List, cst.Tuple, cst.Dict)):
        found: list[cst.BaseExpression] = []
        for element in leaf.elements:
            is_star = isinstance(element, (cst.StarredElement, cst.StarredDictElement))
            found += items(tree, element.value) if is_star else [element.value]
        return found
    if isinstance(leaf, (cst.ListComp, cst.GeneratorExp)):
        return [leaf.elt]
    if isinstance(leaf, cst.BinaryOperation) and isinstance(leaf.operator, (cst.Add, cst.Multiply)):
        return [*elements(tree, leaf.left), *elements(tree, leaf.right)]
    if isinstance(leaf, cst.Call) and called_name(leaf) in HOLDERS:
        if called_name(leaf) == "Sequential" and not any(arg.star for arg in leaf.args):
            return [arg.value for arg in leaf.args]
        return [item for arg in leaf.args[:1] for item in items(tree, arg.value)]
    return []


def grown(tree: Tree, node: cst.BaseExpression) -> list[cst.BaseExpression]:
    """Returns the elements that statements of the file add to the list that a name or an attribute holds."""
    if not (isinstance(node, cst.Name) or is_self(node)):
        return []
    holder = tree.owner(node) if is_self(node) else tree.scope(node)
    text = tree.code(node)
    return [element for place, name, element in growth(tree) if name == text and place is holder]


def growth(tree: Tree) -> list[tuple[cst.CSTNode | None, str, cst.BaseExpression]]:
    """Returns what statements add to lists: the scope or class of the list, its name, and the element."""
    key = ("growth", 0)
    if key not in tree.memory:
        tree.memory[key] = found = []
        for node in tree.kinds[cst.Call]:
            if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.args:
                method, holder = node.func.attr.value, node.func.value
                if method in ADDERS:
                    found.append((_place(tree, holder), tree.code(holder), node.args[-1].value))
                elif method == "extend":
                    found += [(_place(tree, holder), tree.code(holder), item) for item in items(tree, node.args[0].value)]
        for node in tree.kinds[cst.AugAssign]:
            if isinstance(node, cst.AugAssign) and isinstance(node.operator, cst.AddAssign):
                added = elements(tree, node.value)
                found += [(_place(tree, node.target), tree.code(node.target), item) for item in added]
    return tree.memory[key]


def _place(tree: Tree, holder: cst.BaseExpression) -> cst.CSTNode | None:
    return tree.owner(holder) if is_self(holder) else tree.scope(holder)


def _of_subscript(tree: Tree, node: cst.Subscript) -> list[cst.BaseExpression | None] | None:
    index = node.slice[0].slice if len(node.slice) == 1 else None
    if not isinstance(index, cst.Index):
        return None
    key = constant(tree, index.value)
    found = looked_up(tree, node.value, key)
    if found or isinstance(key, str):
        return [*found, None] if found else None
    position = key if isinstance(key, int) else None
    options = items(tree, node.value)
    if position is not None and -len(options) <= position < len(options):
        return [options[position]]
    return [*options] or None


def looked_up(tree: Tree, container: cst.BaseExpression, key: object) -> list[cst.BaseExpression]:
    """Returns the values of a key in the dictionaries that an expression may be; all values if the key is not known."""
    found: list[cst.BaseExpression] = []
    for leaf in values(tree, container):
        if isinstance(leaf, cst.Dict):
            pairs = [pair for pair in leaf.elements if isinstance(pair, cst.DictElement)]
            found += [pair.value for pair in pairs if key is None or constant(tree, pair.key) == key]
        elif isinstance(leaf, cst.Call) and isinstance(key, str) and bases_named(leaf):
            given = keyword(leaf, key)
            found += [] if given is None else [given.value]
    return found


def _of_call(tree: Tree, node: cst.Call) -> list[cst.BaseExpression | None] | None:
    name, method = called_name(node), isinstance(node.func, cst.Attribute)
    if method and name in ("get", "pop", "setdefault") and isinstance(node.func, cst.Attribute) and node.args:
        known = looked_up(tree, node.func.value, constant(tree, node.args[0].value))
        default = argument(node, "default", 1)
        given = [] if default is None else [default]
        return [*known, *given, None] if known or given else None
    if name == "getattr" and not method and len(node.args) >= 2:
        found = _of_getattr(tree, node)
        default = [node.args[2].value] if len(node.args) > 2 else []
        return [*found, *default, *([] if found else [None])] if found or default else None
    if name == "deepcopy" and node.args:
        return [node.args[0].value]
    if name in ("field", "Field"):  # of a dataclass, or of pydantic
        default = keyword(node, "default")
        return None if default is None else [default.value]
    return None


def _of_getattr(tree: Tree, node: cst.Call) -> list[cst.BaseExpression | None]:
    """Returns the values of `getattr(self, "x")`, also where the name is a pattern such as `f"layer{i}"`."""
    owner, named = tree.owner(node), node.args[1].value
    if not (isinstance(node.args[0].value, cst.Name) and node.args[0].value.value == "self" and owner is not None):
        return []
    name = constant(tree, named)
    if isinstance(name, str):
        return [value for value in tree.attribute(owner, name) if isinstance(value, cst.BaseExpression)]
    start = prefix(named)
    calls = (call for call in tree.kinds[cst.Call] if isinstance(call, cst.Call) and tree.owner(call) is owner)
    added = [
        call for call in calls if called_name(call) in ("add_module", "setattr", "register_module") and len(call.args) >= 2
    ]
    return [call.args[-1].value for call in added if start and prefix(call.args[-2].value) == start]


def constant(tree: Tree, node: cst.BaseExpression) -> str | int | None:
    """Returns the text or the integer that an expression certainly is."""
    found = values(tree, node)
    return literal(found[0]) if len(found) == 1 else None


def decide(tree: Tree, test: cst.BaseExpression) -> bool | None:
    """Returns the result of a test whose operands the file shows, such as `kind == "selu"`; None if it is not known."""
    if isinstance(test, cst.UnaryOperation) and isinstance(test.operator, cst.Not):
        inner = decide(tree, test.expression)
        return None if inner is None else not inner
    if isinstance(test, cst.Comparison) and len(test.comparisons) == 1:
        return _compare(tree, test.left, test.comparisons[0])
    found = values(tree, test)
    if len(found) == 1 and isinstance(found[0], cst.Name) and found[0].value in ("True", "False"):
        return found[0].value == "True"
    return None


def _compare(tree: Tree, left: cst.BaseExpression, part: cst.ComparisonTarget) -> bool | None:
    if not isinstance(part.operator, (cst.Equal, cst.NotEqual)):
        return None
    one, other = _shown(tree, left), _shown(tree, part.comparator)
    if one is None or other is None:
        return None
    return (one == other) == isinstance(part.operator, cst.Equal)


def _shown(tree: Tree, node: cst.BaseExpression) -> object:
    """Returns the one text or integer that the file shows for an expression, such as the default of a parameter."""
    found = {value for leaf in values(tree, node) if (value := literal(leaf)) is not None}
    return found.pop() if len(found) == 1 else None
