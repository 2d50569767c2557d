from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import keyword
from thinnet.lint.fixes import Fix, remove_keyword
from thinnet.lint.layers import constructor
from thinnet.lint.modes import expects_error
from thinnet.lint.names import DROPOUT_LAYERS
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree


class TrainingArgumentToLayer(LintRule[cst.Call]):
    """## What it does
    Finds dropout layers that are called with `training=`, as in Keras.

    ## Why is this bad?
    PyTorch's layers take the mode from `train()` and `eval()`. The line raises a `TypeError`.

    ## Example
    ```python
    x = self.drop(x, training=True)
    ```

    ## Use instead
    ```python
    x = self.drop(x)
    ```

    ## Fix safety
    Safe: the line raises an error without it.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>
    """

    code = "THN502"

    def check(self, node: cst.Call, tree: Tree) -> Iterator[Report]:
        if keyword(node, "training") is None or expects_error(tree, node):
            return
        layer = constructor(tree, node.func)
        if layer is not None and tree.name(layer.func) in DROPOUT_LAYERS:
            fix = Fix((remove_keyword(node, "training"),), safe=True)
            yield Report(node, "a layer takes its mode from `train()` and `eval()`; remove `training`", fix)
