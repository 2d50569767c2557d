"""The mode of a model at a node: what constructors, `train()` and `eval()` before it leave, also in other functions."""

import re
from collections import defaultdict
from dataclasses import dataclass

import libcst as cst

from thinnet.lint.arguments import argument, is_false
from thinnet.lint.calls import called, callers, method_named
from thinnet.lint.layers import layers, module_class
from thinnet.lint.literals import called_name
from thinnet.lint.paths import backward, exits
from thinnet.lint.tree import Tree, is_self

SHAKEN = re.compile(r"ropout|BatchNorm|batch_norm|DropPath|drop_path|InstanceNorm|StochasticDepth|LayerDrop")
MAX_CALLERS = 3
Unit = cst.FunctionDef | cst.Module


@dataclass(frozen=True)
class Mode:
    """The mode of a model on a path.

    Args:
        state: "train", "eval", "new" (made in this file, and so in training mode), "unknown", or "start" (nothing before).
        node: what sets the mode.
    """

    state: str
    node: cst.CSTNode


def unit(tree: Tree, node: cst.CSTNode) -> Unit:
    """Returns the function that contains a node, or the module."""
    return tree.above(node, cst.FunctionDef) or tree.module


def modes(tree: Tree, node: cst.CSTNode, model: str, depth: int = 0) -> list[Mode]:
    """Returns the modes that a model may have at a node, one for each path."""
    if depth > MAX_CALLERS:
        return [Mode("unknown", node)]
    here = unit(tree, node)
    reached = backward(tree, node, lambda statement: _set_by(tree, statement, model, depth))
    found = list(reached.results)
    if reached.start:
        found += _at_start(tree, here, model, depth)
    return found


def _at_start(tree: Tree, here: Unit, model: str, depth: int) -> list[Mode]:
    """Returns the modes that the callers of a function leave."""
    if isinstance(here, cst.Module):
        return [Mode("start", here)]
    names = [param.name.value for param in here.params.params]
    found = []
    for call in callers(tree, here):
        if unit(tree, call) is here:
            continue
        passed: str | None = model
        if model in names:
            offset = 1 if names and names[0] in ("self", "cls") else 0
            value = argument(call, model, names.index(model) - offset)
            passed = tree.code(value) if value is not None else None
            if value is not None and isinstance(tree.definition(value), cst.FunctionDef):  # a network that is a function
                found.append(Mode("unknown", call))
                continue
        elif "." not in model and _is_local(tree, here, model):
            passed = None
        if passed is not None:
            found += modes(tree, call, passed, depth + 1)
    return found or [Mode("start", here)]


def is_set_outside(tree: Tree, node: cst.CSTNode, model: str) -> bool:
    """Returns whether the mode of a model is set around its function: by a constructor, or by a function that contains it.

    Also returns True if a class uses a model that it gets from elsewhere.
    """
    here, owner = unit(tree, node), tree.owner(node)
    if isinstance(here, cst.Module):
        return False
    if model.startswith("self.") and owner is not None:
        made = method_named(tree, owner, "__init__")
        sets = made is not None and made is not here and any(mode.state == "eval" for mode in _left_by(tree, made, model, 0))
        return sets or not tree.attribute(owner, model.split(".")[1])
    outer = unit(tree, here)
    if isinstance(outer, cst.Module) or _is_local(tree, here, model):
        return False
    return any(mode.state == "eval" for mode in modes(tree, here, model))


def _is_local(tree: Tree, here: Unit, name: str) -> bool:
    """Returns whether a name belongs to a function."""
    return isinstance(here, cst.FunctionDef) and bool(tree.names_of(here).get(name))


def _set_by(tree: Tree, statement: cst.BaseSmallStatement, model: str, depth: int) -> list[Mode] | None:
    """Returns the mode that a statement gives a model; None if it does not set it."""
    if isinstance(statement, (cst.Assign, cst.AnnAssign)):
        targets = [one.target for one in statement.targets] if isinstance(statement, cst.Assign) else [statement.target]
        if any(tree.code(target) == model for target in targets) and statement.value is not None:
            return _made(tree, statement.value, statement, model)
    for call in reversed(_mode_calls(tree).get(id(statement), [])):
        found = _by_call(tree, call, model, depth)
        if found is not None:
            return found
    return None


def _mode_calls(tree: Tree) -> dict[int, list[cst.Call]]:
    """Returns the calls that may set a mode, by their statement."""
    key = ("mode calls", 0)
    if key not in tree.memory:
        tree.memory[key] = found = defaultdict(list)
        for call in tree.kinds[cst.Call]:
            if isinstance(call, cst.Call) and (re.search("train|eval", called_name(call)) or called(tree, call) is not None):
                statement = tree.parent(call)
                while statement is not None and not isinstance(statement, (cst.BaseSmallStatement, cst.BaseCompoundStatement)):
                    statement = tree.parent(statement)
                if isinstance(statement, cst.With):  # `with evaluating(model):` counts for the first statement of its block
                    first = statement.body.body[0]
                    statement = first.body[0] if isinstance(first, cst.SimpleStatementLine) else first
                found[id(statement)].append(call)
    return tree.memory[key]


def _by_call(tree: Tree, call: cst.Call, model: str, depth: int) -> list[Mode] | None:
    name, target = called_name(call), called(tree, call)
    if isinstance(call.func, cst.Attribute) and name in ("train", "eval") and target is None:
        receiver = tree.code(call.func.value)
        names = _aliases(tree, unit(tree, call), model)
        if receiver.removesuffix(".module") in names or model.startswith(f"{receiver}."):
            if name == "train" and call.args:
                if is_false(call.args[0].value):
                    return [Mode("eval", call)]
                is_true = tree.code(call.args[0].value) == "True"
                return [Mode("train" if is_true else "unknown", call)]
            return [Mode(name, call)]
    passed = [arg.value for arg in call.args if tree.code(arg.value) == model]
    if isinstance(target, cst.FunctionDef) and depth < MAX_CALLERS:
        inner = model if is_self(call.func) or model.startswith("self.") else ""
        if passed:
            inner = _parameter(target, call, passed[0])
        elif "." not in model and not _is_local(tree, target, model) and not _is_local(tree, unit(tree, call), model):
            inner = model
        found = _left_by(tree, target, inner, depth) if inner else []
        return found or None
    is_told = passed or (isinstance(call.func, cst.Attribute) and tree.code(call.func.value) == model)
    return [Mode("unknown", call)] if is_told and re.search("train|eval", name) else None


def _aliases(tree: Tree, here: Unit, model: str) -> set[str]:
    """Returns the names that a function gives a model: `self.model = model`."""
    key = (f"aliases {model}", id(here))
    if key not in tree.memory:
        tree.memory[key] = found = {model}
        for node in tree.under(here.body if isinstance(here, cst.FunctionDef) else here, cst.Assign):
            pair = {
                tree.code(part) for part in (node.targets[0].target, node.value) if isinstance(part, (cst.Name, cst.Attribute))
            }
            if len(pair) == 2 and model in pair:
                found |= pair
    return tree.memory[key]


def _parameter(target: cst.FunctionDef, call: cst.Call, value: cst.BaseExpression) -> str:
    """Returns the name of the parameter that takes an argument."""
    names = [param.name.value for param in target.params.params]
    names = names[1:] if names[:1] == ["self"] else names
    for index, arg in enumerate(call.args):
        if arg.value is value:
            return arg.keyword.value if arg.keyword is not None else (names[index] if index < len(names) else "")
    return ""


def _left_by(tree: Tree, function: cst.FunctionDef, model: str, depth: int) -> list[Mode]:
    """Returns the modes that a function leaves a model in; nothing if it does not set the mode."""
    key = (f"left {model}", id(function))
    if key not in tree.memory:
        tree.memory[key] = []
        tree.memory[key] = exits(function, lambda statement: _set_by(tree, statement, model, depth + 1)).results
    return tree.memory[key]


def _made(tree: Tree, value: cst.BaseExpression, statement: cst.CSTNode, model: str) -> list[Mode] | None:
    """Returns the mode of a model that an assignment makes; None if the assignment keeps the model."""
    methods = {called_name(call) for call in tree.under(value, cst.Call)}
    if "eval" in methods:
        return [Mode("eval", statement)]
    names = {tree.code(part) for part in tree.under(value, cst.BaseExpression) if isinstance(part, (cst.Name, cst.Attribute))}
    if model in names:  # `model = model.to(device)`
        return None
    if not isinstance(value, cst.Call):
        return [Mode("unknown", statement)]
    owner = module_class(tree, value)
    if owner is not None and tree.is_module(owner):
        return [Mode("new", statement)] if _is_shaken(tree, owner) else [Mode("unknown", statement)]
    made = layers(tree, value)
    if made and SHAKEN.search(tree.code(made[0].call)):
        return [Mode("new", statement)]
    is_zoo = (tree.name(value.func) or "").startswith("torchvision.models.")
    return [Mode("new" if is_zoo else "unknown", statement)]


def is_calm(tree: Tree, model: cst.BaseExpression) -> bool:
    """Returns whether the file shows a model, and it has neither dropout nor batch normalisation."""
    owner = module_class(tree, model)
    if owner is not None:
        return not _is_shaken(tree, owner)
    made = layers(tree, model)
    return bool(made) and not any(SHAKEN.search(tree.code(layer.call)) for layer in made)


def _is_shaken(tree: Tree, owner: cst.ClassDef, depth: int = 0) -> bool:
    """Returns whether a class of the file, or a class that it uses, has dropout or batch normalisation."""
    key = ("shaken", id(owner))
    if key not in tree.memory:
        tree.memory[key] = False
        text = tree.code(owner)
        used = (tree.definition(call.func) for call in tree.under(owner, cst.Call))
        bases = (tree.definition(base.value) for base in owner.bases)
        parts = {id(one): one for one in (*used, *bases) if isinstance(one, cst.ClassDef) and one is not owner}
        tree.memory[key] = bool(SHAKEN.search(text)) or any(
            _is_shaken(tree, one, depth + 1) for one in parts.values() if depth < MAX_CALLERS
        )
    return tree.memory[key]
