"""What the calls of a file pass to its functions, and what its configurations contain."""

import re
from collections import defaultdict

import libcst as cst

from thinnet.lint.arguments import argument, has_no_unpacking, keyword
from thinnet.lint.scopes import dotted
from thinnet.lint.tree import Tree, is_self, methods

CONFIG = re.compile(
    r"(?:.*_)?(?:config|configs|cfg|conf|args|arg|opt|opts|options|hparams|hparam|hp|hps|params|flags|settings|hyper\w*)",
    re.IGNORECASE,
)
CONFIG_CLASS = re.compile(r".*(?:Config|Configuration|Args|Arguments|Options|Params|HParams|Hyperparameters|Settings|Opts?)")
NAMESPACES = frozenset("Namespace SimpleNamespace EasyDict edict AttrDict DotDict Munch ConfigDict dict DotMap Bunch".split())
MAX_CALLS = 8


def callers(tree: Tree, function: cst.FunctionDef | cst.ClassDef) -> list[cst.Call]:
    """Returns the calls of a function or a class in the file, by its name or as `self.name(...)`."""
    key = ("callers", 0)
    if key not in tree.memory:
        by_name: dict[int, list[cst.Call]] = defaultdict(list)
        for call in tree.kinds[cst.Call]:
            if isinstance(call, cst.Call):
                target = called(tree, call)
                if target is not None:
                    by_name[id(target)].append(call)
        tree.memory[key] = by_name
    return tree.memory[key].get(id(function), [])


def called(tree: Tree, call: cst.Call) -> cst.FunctionDef | cst.ClassDef | None:
    """Returns the function, the class or the method of `self` of this file that a call calls."""
    func = call.func
    if is_self(func):
        owner = tree.owner(call)
        return method_named(tree, owner, func.attr.value) if owner is not None else None
    if isinstance(func, cst.Name) and func.value == "partial" and call.args:
        return tree.definition(call.args[0].value)
    return tree.definition(func)


def method_named(tree: Tree, owner: cst.ClassDef, name: str, depth: int = 0) -> cst.FunctionDef | None:
    """Returns a method of a class or of its bases in this file."""
    own = next((method for method in methods(owner) if method.name.value == name), None)
    if own is not None or depth > 4:
        return own
    bases = (tree.definition(base.value) for base in owner.bases)
    found = (method_named(tree, base, name, depth + 1) for base in bases if isinstance(base, cst.ClassDef))
    return next((method for method in found if method is not None), None)


def arguments_of(tree: Tree, param: cst.Param) -> list[cst.BaseExpression]:
    """Returns what the calls in the file pass for a parameter."""
    function = tree.above(param, cst.FunctionDef, cst.Lambda)
    if not isinstance(function, cst.FunctionDef):
        return []
    names = [one.name.value for one in (*function.params.posonly_params, *function.params.params)]
    owner = tree.scope(function)
    target, bound = function, False
    if isinstance(owner, cst.ClassDef):
        bound = not any(dotted(decorator.decorator) == "staticmethod" for decorator in function.decorators)
        target = owner if function.name.value == "__init__" else function
    if param.name.value not in names:
        named = [keyword(call, param.name.value) for call in callers(tree, target)]
        return [arg.value for arg in named if arg is not None][:MAX_CALLS]
    found = []
    for call in callers(tree, target)[:MAX_CALLS]:
        offset = 1 if isinstance(call.func, cst.Name) and call.func.value == "partial" else 0
        value = argument(call, param.name.value, names.index(param.name.value) - bound + offset)
        if value is not None and has_no_unpacking(call):
            found.append(value)
    return found


def bases_named(call: cst.Call) -> bool:
    """Returns whether a call creates a dictionary or a namespace of its keywords."""
    return dotted(call.func).rpartition(".")[2] in NAMESPACES


def configured(tree: Tree, node: cst.Attribute) -> list[cst.BaseExpression | None]:
    """Returns the values of `config.x`: from a class of the file, a namespace, or the defaults of an argument parser."""
    name, base = node.attr.value, dotted(node.value).rpartition(".")[2]
    owner = _class_of(tree, node.value)
    if owner is not None:
        return [value if isinstance(value, cst.BaseExpression) else None for value in _fields(tree, owner, name)]
    if not CONFIG.fullmatch(base):
        return []
    found: list[cst.BaseExpression | None] = [*_all_fields(tree).get(name, ())]
    return [*found, None] if found else []


def _class_of(tree: Tree, node: cst.BaseExpression) -> cst.ClassDef | None:
    """Returns the class of the file that an expression is, or is an instance of, or is annotated with."""
    owner = tree.definition(node)
    if isinstance(owner, cst.ClassDef):
        return owner
    value = tree.value(node)
    if isinstance(value, cst.Call):
        made = tree.definition(value.func)
        return made if isinstance(made, cst.ClassDef) else None
    for bound in tree.bound(value) if isinstance(value, cst.Name) else ():
        if isinstance(bound, cst.Param) and bound.annotation is not None:
            annotated = tree.definition(bound.annotation.annotation)
            return annotated if isinstance(annotated, cst.ClassDef) else None
    return None


def _fields(tree: Tree, owner: cst.ClassDef, name: str) -> list:
    """Returns the values of a field of a class: of the keyword in calls of it, of `self.x`, or of the class body."""
    found = tree.attribute(owner, name)
    given = [keyword(call, name) for call in callers(tree, owner)[:MAX_CALLS]]
    return [*found, *(arg.value for arg in given if arg is not None)]


def _all_fields(tree: Tree) -> dict[str, list[cst.BaseExpression | None]]:
    """Returns the fields of the configuration classes, namespaces and argument parsers of the file."""
    key = ("fields", 0)
    if key not in tree.memory:
        found: dict[str, list[cst.BaseExpression | None]] = defaultdict(list)
        for owner in tree.kinds[cst.ClassDef]:
            if isinstance(owner, cst.ClassDef) and _is_config(owner):
                for name in tree.attribute_names(owner):
                    found[name] += [v if isinstance(v, cst.BaseExpression) else None for v in tree.attribute(owner, name)]
        for call in tree.kinds[cst.Call]:
            if isinstance(call, cst.Call):
                for name, value in _parsed(call):
                    found[name].append(value)
        for name in _written(tree):
            found[name] = [None]
        tree.memory[key] = found
    return tree.memory[key]


def _is_config(owner: cst.ClassDef) -> bool:
    decorated = any(dotted(getattr(one.decorator, "func", one.decorator)).endswith("dataclass") for one in owner.decorators)
    return decorated or CONFIG_CLASS.fullmatch(owner.name.value) is not None


def _parsed(call: cst.Call) -> list[tuple[str, cst.BaseExpression]]:
    """Returns the default of an option of a command line, or the keywords of a namespace."""
    if isinstance(call.func, cst.Attribute) and call.func.attr.value == "add_argument":
        default, dest = keyword(call, "default"), keyword(call, "dest")
        names = [arg.value.evaluated_value for arg in call.args if not arg.keyword and isinstance(arg.value, cst.SimpleString)]
        if dest is not None and isinstance(dest.value, cst.SimpleString):
            names = [dest.value.evaluated_value]
        long = next((str(name) for name in names if str(name).startswith("--")), str(names[0]) if names else "")
        return [(long.lstrip("-").replace("-", "_"), default.value)] if default is not None and long else []
    if bases_named(call):
        return [(arg.keyword.value, arg.value) for arg in call.args if arg.keyword is not None]
    return []


def _written(tree: Tree) -> set[str]:
    """Returns the fields that statements of the file compute from themselves: `args.dropout /= 100`."""
    pairs = [(node.target, node.target) for node in tree.kinds[cst.AugAssign] if isinstance(node, cst.AugAssign)]
    for node in tree.kinds[cst.Assign]:
        pairs += [(one.target, node.value) for one in node.targets] if isinstance(node, cst.Assign) else []
    return {
        target.attr.value
        for target, value in pairs
        if isinstance(target, cst.Attribute) and CONFIG.fullmatch(dotted(target.value).rpartition(".")[2])
        if any(part.attr.value == target.attr.value for part in tree.under(value, cst.Attribute))
    }
