"""THN502."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import keyword
from thinnet.lint.changes import drop_keyword
from thinnet.lint.flow import layer
from thinnet.lint.modes import expects_error
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.spelling import DROPOUT_LAYERS
from thinnet.lint.tree import Tree


class TrainingArgumentAtLayer(Rule):
    """## What it does
    Finds dropout layers that are called with `training=`, as in Keras.

    ## Why is this bad?
    A layer of PyTorch takes the mode from `train()` and `eval()`. The argument is a `TypeError` as soon as the line runs.

    ## Example
    ```python
    x = self.drop(x, training=True)
    ```

    ## Use instead
    ```python
    x = self.drop(x)
    ```

    ## Fix safety
    Safe: the line fails today.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>
    """

    code = "THN502"

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the calls with an argument too many."""
        if not isinstance(node, cst.Call) or keyword(node, "training") is None or expects_error(tree, node):
            return
        made = layer(tree, node.func)
        if made is not None and tree.name(made.func) in DROPOUT_LAYERS:
            fix = Fix((drop_keyword(node, "training"),), safe=True)
            yield Report(node, "a layer takes its mode from `train()` and `eval()`; leave out `training`", fix)
