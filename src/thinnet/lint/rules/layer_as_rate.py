from collections.abc import Iterator

import libcst as cst

from thinnet.lint.fixes import Fix, insert_after
from thinnet.lint.layers import constructor
from thinnet.lint.names import DROPOUT_LAYERS
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import RateRule
from thinnet.lint.tree import Tree
from thinnet.lint.values import values


class LayerAsRate(RateRule):
    """## What it does
    Finds a dropout layer passed as the rate.

    ## Why is this bad?
    The line raises a `TypeError`.

    ## Example
    ```python
    self.drop = nn.Dropout(0.5)
    x = F.dropout(x, self.drop, self.training)
    ```

    ## Use instead
    ```python
    self.drop = nn.Dropout(0.5)
    x = F.dropout(x, self.drop.p, self.training)
    ```

    ## Fix safety
    Safe: the line raises an error without it.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html>
    """

    code = "THN306"

    def check_rate(self, p: cst.BaseExpression, call: cst.Call, tree: Tree) -> Iterator[Report]:
        layer = None if isinstance(p, cst.Call) or len(values(tree, p)) > 1 else constructor(tree, p)
        if layer is not None and tree.name(layer.func) in DROPOUT_LAYERS:
            code = tree.code(p)
            yield Report(
                p, f"`{code}` is a layer, not a rate; pass `{code}.p`", Fix((insert_after(p, ".p"),), safe=True), layer
            )
