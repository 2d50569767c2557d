from collections.abc import Iterator

import libcst as cst

from thinnet.lint.fixes import Fix, insert_after, insert_before
from thinnet.lint.names import DROPOUT_LAYERS
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree, is_self


class DropoutInPlainList(LintRule[cst.Assign]):
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
    kinds = (cst.Assign,)

    def check(self, node: cst.Assign, tree: Tree) -> Iterator[Report]:
        if tree.module_method(node) is None:
            return
        layer = self._layer(tree, node.value)
        target = node.targets[0].target
        if layer is None or not is_self(target) or self._is_registered(tree, target):
            return
        fix = None
        if isinstance(node.value, (cst.List, cst.ListComp)) and isinstance(layer.func, cst.Attribute):
            name = f"{tree.code(layer.func.value)}.ModuleList"
            fix = Fix((insert_before(node.value, f"{name}("), insert_after(node.value, ")")), safe=False)
        kind = type(node.value).__name__.lower().removesuffix("comp")
        problem = f"`eval()` does not reach a dropout layer in a plain {kind}"
        yield Report(node, f"{problem}; use `nn.ModuleList` or `nn.ModuleDict`", fix)

    def _layer(self, tree: Tree, node: cst.BaseExpression) -> cst.Call | None:
        values: list[cst.BaseExpression] = []
        if isinstance(node, (cst.List, cst.Tuple)):
            values = [element.value for element in node.elements]
        elif isinstance(node, cst.Dict):
            values = [element.value for element in node.elements]
        elif isinstance(node, cst.ListComp):
            values = [node.elt]
        calls = (value for value in values if isinstance(value, cst.Call))
        return next((call for call in calls if tree.name(call.func) in DROPOUT_LAYERS), None)

    def _is_registered(self, tree: Tree, target: cst.CSTNode) -> bool:
        owner = tree.owner(target)
        attributes = tree.under(owner, cst.Attribute) if owner else ()
        return any(
            isinstance(arg := tree.parent(use), cst.Arg) and self._takes_modules(tree, tree.parent(arg))
            for use in attributes
            if is_self(use) and tree.code(use) == tree.code(target)
        )

    def _takes_modules(self, tree: Tree, call: cst.CSTNode | None) -> bool:
        return isinstance(call, cst.Call) and (tree.name(call.func) or "torch.nn.").startswith("torch.nn.")
