from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import has_no_unpacking
from thinnet.lint.fixes import Fix, replace
from thinnet.lint.modes import depends_on_mode
from thinnet.lint.names import DROPOUT_LAYERS
from thinnet.lint.rates import number, rate
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree, is_self

FUNCTIONS = {
    "Dropout": "dropout",
    "Dropout1d": "dropout1d",
    "Dropout2d": "dropout2d",
    "Dropout3d": "dropout3d",
    "AlphaDropout": "alpha_dropout",
    "FeatureAlphaDropout": "feature_alpha_dropout",
}


class DropoutCreatedInForward(LintRule[cst.Call]):
    """## What it does
    Finds dropout layers that are created in `forward`, or in another function that calls them in the same expression.

    ## Why is this bad?
    A new layer is in training mode. It is not a child of the module, so `model.eval()` does not switch it off, and
    predictions are random.

    ## Example
    ```python
    def forward(self, x):
        return nn.Dropout(0.5)(self.linear(x))
    ```

    ## Use instead
    ```python
    def forward(self, x):
        return nn.functional.dropout(self.linear(x), 0.5, training=self.training)
    ```

    ## Fix safety
    Safe: training draws the same mask, and eval mode becomes deterministic. The fix exists only where the new layer is
    called in the same expression.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval>
    """

    code = "THN105"
    may_be_intended = True
    words = ("ropout", "def ")

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        if tree.name(node.func) not in DROPOUT_LAYERS or not (tree.is_in_forward(node) or self._is_applied(tree, node)):
            return
        if depends_on_mode(tree, node) or number(tree, rate(tree, node)) == 0:
            return
        around = tree.parent(node)
        if isinstance(around, cst.Assign) and any(is_self(target.target) for target in around.targets):
            return
        problem = "a dropout layer that is created where it is used is always in training mode"
        remedy = "create it in `__init__`, or call the function with `training=self.training`"
        yield Report(node, f"{problem}; {remedy}", self._fix(tree, node))

    def _is_applied(self, tree: Tree, layer: cst.Call) -> bool:
        """Returns whether a function with arguments calls the new layer in the same expression: `nn.Dropout(0.5)(x)`."""
        call, function = tree.parent(layer), tree.above(layer, cst.FunctionDef)
        if not (isinstance(call, cst.Call) and call.func is layer and function is not None):
            return False
        has_arguments = bool(function.params.params) and not function.name.value.startswith(("test", "main"))
        return tree.module_method(layer) is not None or has_arguments

    def _fix(self, tree: Tree, layer: cst.Call) -> Fix | None:
        call, func = tree.parent(layer), layer.func
        if not (isinstance(call, cst.Call) and call.func is layer and isinstance(func, cst.Attribute)):
            return None
        if tree.module_method(layer) is None:  # there is no `self.training`
            return None
        if tree.name(func.value) != "torch.nn" or len(call.args) != 1 or not has_no_unpacking(call) or len(layer.args) > 1:
            return None
        p, x = rate(tree, layer), call.args[0]
        if x.keyword is not None or bool(layer.args) != (p is not None):
            return None
        given = "" if p is None else f" {tree.code(p)},"
        name = f"{tree.code(func.value)}.functional.{FUNCTIONS[func.attr.value]}"
        return Fix((replace(call, f"{name}({tree.code(x.value)},{given} training=self.training)"),), safe=True)
