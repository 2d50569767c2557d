"""THN307."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.rates import rate
from thinnet.lint.rule import Report, Rule
from thinnet.lint.spelling import DROPOUT_LAYERS
from thinnet.lint.tree import Tree


class RateDecidesLayer(Rule):
    """## What it does
    Finds modules that make a dropout layer only if the rate is above 0.

    ## Why is this bad?
    A rate schedule that starts at 0 finds no layer to drive, and changing the rate of a loaded model has no effect. A
    dropout layer with a rate of 0 costs nothing.

    ## Example
    ```python
    self.drop = nn.Dropout(p) if p > 0 else nn.Identity()
    ```

    ## Use instead
    ```python
    self.drop = nn.Dropout(p)
    ```

    ## Fix safety
    None: the types of the children change, which other code may look at.

    ## References
    - timm's `DropPath(p) if p > 0. else nn.Identity()`
    """

    code = "THN307"
    kinds = (cst.IfExp,)
    preview = True

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the layers that may not be there."""
        made = node.body if isinstance(node, cst.IfExp) else None
        if not (isinstance(node, cst.IfExp) and isinstance(made, cst.Call) and tree.name(made.func) in DROPOUT_LAYERS):
            return
        p, other = rate(tree, made), node.orelse
        is_identity = isinstance(other, cst.Call) and tree.name(other.func) == "torch.nn.Identity"
        if p is not None and tree.code(p) in tree.code(node.test) and is_identity:
            yield Report(node, "a schedule that starts at 0 finds no layer here; make it whatever the rate")
