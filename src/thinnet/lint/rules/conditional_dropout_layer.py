from collections.abc import Iterator

import libcst as cst

from thinnet.lint.names import DROPOUT_LAYERS
from thinnet.lint.rates import rate
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree


class ConditionalDropoutLayer(LintRule[cst.IfExp]):
    """## What it does
    Finds modules that create a dropout layer only if the rate is above 0.

    ## Why is this bad?
    A schedule that starts at rate 0 finds no layer, and the rate of a loaded model cannot be raised. A dropout layer with
    rate 0 costs nothing.

    ## Example
    ```python
    self.drop = nn.Dropout(p) if p > 0 else nn.Identity()
    ```

    ## Use instead
    ```python
    self.drop = nn.Dropout(p)
    ```

    ## Fix safety
    None: the class of the child changes, and other code may depend on it.

    ## References
    - timm's `DropPath(p) if p > 0. else nn.Identity()`
    """

    code = "THN307"
    kinds = (cst.IfExp,)
    preview = True

    def check(self, node: cst.IfExp, tree: Tree) -> Iterator[Report]:
        layer, other = node.body, node.orelse
        if not (isinstance(layer, cst.Call) and tree.name(layer.func) in DROPOUT_LAYERS):
            return
        p = rate(tree, layer)
        is_identity = isinstance(other, cst.Call) and tree.name(other.func) == "torch.nn.Identity"
        if p is not None and tree.code(p) in tree.code(node.test) and is_identity:
            yield Report(node, "a schedule that starts at rate 0 finds no layer here; create the layer at any rate")
