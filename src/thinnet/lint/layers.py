"""The layers that an expression may be: through attributes, lists, wrappers, factories and parameters."""

from dataclasses import dataclass

import libcst as cst

from thinnet.lint.calls import called
from thinnet.lint.literals import called_name
from thinnet.lint.tree import Tree
from thinnet.lint.values import values

# methods that return the module itself, and functions that return a module which computes the same
SAME_MODULE = frozenset("to cuda cpu double half float bfloat16 eval train requires_grad_ type share_memory apply".split())
WRAPPERS = frozenset("weight_norm spectral_norm compile DataParallel DistributedDataParallel checkpoint_wrapper script".split())
MAX_DEPTH = 6


@dataclass(frozen=True)
class Layer:
    """A layer of `torch.nn`.

    Args:
        name: the full name of its class.
        call: the call of the constructor.
    """

    name: str
    call: cst.Call


def layers(tree: Tree, node: cst.BaseExpression, depth: int = 0) -> list[Layer]:
    """Returns the layers of `torch.nn` that an expression may be."""
    key = (f"layers {depth}", id(node))
    if key not in tree.memory:
        found: dict[int, Layer] = {}
        for leaf in values(tree, node) if depth < MAX_DEPTH else ():
            for layer in _made(tree, leaf, depth) if isinstance(leaf, cst.Call) else ():
                found.setdefault(id(layer.call), layer)
        tree.memory[key] = list(found.values())
    return tree.memory[key]


def _made(tree: Tree, call: cst.Call, depth: int) -> list[Layer]:
    name = called_name(call)
    if isinstance(call.func, cst.Attribute) and name in SAME_MODULE:
        return layers(tree, call.func.value, depth + 1)
    if name in WRAPPERS and call.args:
        return layers(tree, call.args[0].value, depth + 1)
    classes = classes_of(tree, call.func)
    if classes:
        return [Layer(one, call) for one in classes]
    target = called(tree, call)
    if isinstance(target, cst.FunctionDef):
        return [layer for value in returned(tree, target) for layer in layers(tree, value, depth + 1)]
    return []


def classes_of(tree: Tree, func: cst.BaseExpression) -> list[str]:
    """Returns the full names of the classes of `torch.nn` that an expression may be, such as the default of `norm_layer`."""
    direct = tree.name(func)
    names: list[str | None] = [direct] if direct is not None else [tree.name(leaf) for leaf in values(tree, func)]
    for leaf in values(tree, func) if direct is None else ():
        if isinstance(leaf, cst.Call) and called_name(leaf) == "partial" and leaf.args:
            names.append(tree.name(leaf.args[0].value))
    return list(dict.fromkeys(name for name in names if name is not None and is_layer_class(name)))


def is_layer_class(name: str) -> bool:
    """Returns whether a full name is that of a layer's class."""
    return name.startswith("torch.nn.") and name.rpartition(".")[2][:1].isupper()


def constructor(tree: Tree, node: cst.BaseExpression) -> cst.Call | None:
    """Returns the call that creates the layer of `torch.nn` that an expression stands for, if there is only one."""
    found = layers(tree, node)
    return found[0].call if len(found) == 1 else None


def module_class(tree: Tree, node: cst.BaseExpression) -> cst.ClassDef | None:
    """Returns the class of this file that an expression is an instance of."""
    key = ("module class", id(node))
    if key not in tree.memory:
        tree.memory[key] = None  # a model that is made of itself, as in `model = model.to(device)`
        tree.memory[key] = _module_class(tree, node)
    return tree.memory[key]


def _module_class(tree: Tree, node: cst.BaseExpression) -> cst.ClassDef | None:
    for leaf in values(tree, node):
        if not isinstance(leaf, cst.Call):
            continue
        inner = leaf.args[0].value if called_name(leaf) in WRAPPERS and leaf.args else None
        if isinstance(leaf.func, cst.Attribute) and called_name(leaf) in SAME_MODULE:
            inner = leaf.func.value
        found = tree.definition(leaf.func) if inner is None else module_class(tree, inner)
        if isinstance(found, cst.ClassDef):
            return found
    return None


def returned(tree: Tree, function: cst.FunctionDef) -> list[cst.BaseExpression]:
    """Returns the expressions that a function returns."""
    return [
        node.value
        for node in tree.under(function.body, cst.Return)
        if node.value is not None and tree.above(node, cst.FunctionDef) is function
    ]
