from collections.abc import Iterator

import libcst as cst

from thinnet.lint.fixes import Fix, insert_after, insert_before
from thinnet.lint.layers import layers
from thinnet.lint.literals import called_name
from thinnet.lint.names import DROPOUT_LAYERS
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree, is_self
from thinnet.lint.values import elements, items, values


class DropoutInPlainList(LintRule[cst.Assign | cst.Call]):
    """## What it does
    Finds dropout layers that a module keeps in a Python list, tuple or dict.

    ## Why is this bad?
    Only attributes and layers in a `ModuleList` or `ModuleDict` are children of a module. `model.eval()` does not reach
    other layers, so they drop in eval mode too.

    ## Example
    ```python
    self.drops = [nn.Dropout(0.1) for _ in range(3)]
    ```

    ## Use instead
    ```python
    self.drops = nn.ModuleList([nn.Dropout(0.1) for _ in range(3)])
    ```

    ## Fix safety
    Unsafe: the layers become children, so keys of the `state_dict` can change. Only lists have a fix.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html>
    """

    code = "THN106"
    kinds = (cst.Assign, cst.Call)

    def check(self, node: cst.Assign | cst.Call, tree: Tree) -> Iterator[Report]:
        if tree.module_method(node) is None:
            return
        if isinstance(node, cst.Call):
            yield from self._grown(node, tree)
            return
        target = node.targets[0].target
        if not is_self(target) or not self._is_plain(tree, node.value) or self._is_registered(tree, target):
            return
        direct = elements(tree, node.value)
        layer = next(filter(None, (self._dropout(tree, item) for item in direct or items(tree, node.value))), None)
        if layer is None:
            return
        fix = None
        if isinstance(node.value, (cst.List, cst.ListComp)) and isinstance(layer.func, cst.Attribute):
            name = f"{tree.code(layer.func.value)}.ModuleList"
            fix = Fix((insert_before(node.value, f"{name}("), insert_after(node.value, ")")), safe=False)
        kind = type(node.value).__name__.lower().removesuffix("comp") if direct else "list"
        problem = f"`eval()` does not reach a dropout layer in a plain {kind}"
        yield Report(node, f"{problem}; use `nn.ModuleList` or `nn.ModuleDict`", fix, layer)

    def _grown(self, call: cst.Call, tree: Tree) -> Iterator[Report]:
        """Yields the dropout layer that is appended to a plain list of the module."""
        if not (isinstance(call.func, cst.Attribute) and called_name(call) in ("append", "insert", "extend") and call.args):
            return
        holder = call.func.value
        layer = self._dropout(tree, call.args[-1].value) if is_self(holder) else None
        if layer is None or not self._is_plain(tree, holder) or self._is_registered(tree, holder):
            return
        problem = "`eval()` does not reach a dropout layer in a plain list"
        yield Report(call, f"{problem}; use `nn.ModuleList`", cause=next(iter(values(tree, holder))))

    def _is_plain(self, tree: Tree, node: cst.BaseExpression) -> bool:
        kinds = (cst.List, cst.Tuple, cst.Dict, cst.ListComp, cst.DictComp)
        found = values(tree, node)
        return bool(found) and all(isinstance(leaf, kinds) for leaf in found)

    def _dropout(self, tree: Tree, node: cst.BaseExpression) -> cst.Call | None:
        """Returns the dropout layer that an element is, or that a `Sequential` in it has."""
        for layer in layers(tree, node):
            calls = tree.under(layer.call, cst.Call) if layer.name == "torch.nn.Sequential" else [layer.call]
            found = next((call for call in calls if tree.name(call.func) in DROPOUT_LAYERS), None)
            if found is not None:
                return found
        return None

    def _is_registered(self, tree: Tree, target: cst.CSTNode) -> bool:
        owner = tree.owner(target)
        uses = [use for use in tree.under(owner, cst.Attribute) if is_self(use)] if owner else []
        return any(self._registers(tree, use) for use in uses if tree.code(use) == tree.code(target))

    def _registers(self, tree: Tree, use: cst.CSTNode) -> bool:
        """Returns whether a use of the list gives its layers to the module: `ModuleList(x)`, or a loop of `add_module`."""
        holder = tree.parent(use)
        around = tree.parent(holder) if isinstance(holder, cst.Arg) else None
        if isinstance(around, cst.Call) and called_name(around) not in ("enumerate", "zip", "reversed", "len", "range"):
            return (tree.name(around.func) or "torch.nn.").startswith("torch.nn.")
        loop = tree.above(use, cst.For, cst.FunctionDef)
        calls = tree.under(loop.body, cst.Call) if isinstance(loop, cst.For) else ()
        return any(called_name(call) in ("add_module", "register_module", "setattr") for call in calls)
